"""A new kind of state, defined in this file, can be trained, saved, read back, continued and run again."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import overlaps as ov
from overlaps.connectivity import Layout, State


class Factored(State):
    """The minimal network, kept as its factor F: any matrix with F^T F = G."""

    F: Any
    inputs: int = eqx.field(static=True, default=1)
    rank: int = eqx.field(static=True, default=1)
    outputs: int = eqx.field(static=True, default=1)

    @property
    def layout(self):
        return Layout(self.inputs, self.rank, self.outputs)

    @property
    def factor(self):
        return self.F

    def with_factor(self, factor):
        return eqx.tree_at(lambda state: state.F, self, factor)

    @property
    def gram(self):
        return self.F.swapaxes(-1, -2) @ self.F

    def stored(self, name):
        return {f"{name}_F": (("row", "vector"), self.F, {"long_name": f"{name} factor", "units": "1"})}

    @classmethod
    def read(cls, name, results):
        sizes = (results.description[size] for size in Layout._fields)
        return cls(results.variable(f"{name}_F"), *sizes)


NET = ov.Overlaps.random(0, rank=2)
TRIANGLE = Factored(np.linalg.cholesky(NET.gram).T, rank=2)  # another factor than the symmetric one that `Overlaps` takes
LINEAR, ERF = ov.RNN(dt=0.1), ov.RNN("erf", dt=0.1)
FILTER = ov.tasks.exponential_filter(0.2, horizon=4.0)
TRIALS = ov.tasks.flip_flop(0, trials=2, duration=6.0, dt=0.1)
DESCENT, FLOW = ov.GradientDescent(1e-2, 40), ov.GradientFlow(0.4, rtol=1e-9, atol=1e-11)
CASES = [
    (FILTER, LINEAR, DESCENT, 1e-13),
    pytest.param(FILTER, LINEAR, FLOW, 1e-8, marks=pytest.mark.slow),
    (TRIALS, ERF, DESCENT, 1e-13),
]


@pytest.mark.parametrize(("task", "rnn", "rule", "tolerance"), CASES)
def test_it_learns_as_its_overlaps_do_and_survives_a_file(task, rnn, rule, tolerance, tmp_path):
    run = ov.learn(TRIANGLE, task, rnn, rule, saves=5)
    theory = ov.learn(NET, task, rnn, rule, saves=5)
    np.testing.assert_allclose(run["sigma"], theory["sigma"], rtol=0, atol=tolerance)
    xr.testing.assert_identical(run["visible"], theory["visible"])
    run.to_netcdf(tmp_path / "run.nc")
    loaded = xr.load_dataset(tmp_path / "run.nc")
    xr.testing.assert_identical(ov.rerun(loaded), run)
    np.testing.assert_array_equal(ov.initial_state(loaded).F, TRIANGLE.F)
    end = ov.final_state(loaded)
    assert isinstance(end, Factored)
    np.testing.assert_allclose(end.overlaps().gram, ov.final_state(theory).gram, rtol=0, atol=tolerance)
    further = ov.learn(end, task, rnn, rule, saves=3)
    expected = ov.learn(ov.final_state(theory), task, rnn, rule, saves=3)
    np.testing.assert_allclose(further["sigma"], expected["sigma"], rtol=0, atol=10 * tolerance)


def test_a_batch_of_it():
    both = jax.tree.map(lambda *leaves: np.stack(leaves), TRIANGLE, TRIANGLE.with_factor(0.9 * TRIANGLE.F))
    run = ov.learn(both, FILTER, LINEAR, DESCENT, saves=3)
    assert run["initial_F"].dims == ("batch", "row", "vector")
    np.testing.assert_allclose(run["sigma"][0], ov.learn(NET, FILTER, LINEAR, DESCENT, saves=3)["sigma"], rtol=0, atol=1e-13)
    xr.testing.assert_identical(ov.rerun(run), run)
    np.testing.assert_array_equal(ov.final_state(run.isel(batch=1)).F, ov.final_state(run).F[1])


class Weighted(Factored):
    """A state whose first array is not a matrix."""

    gains: Any = eqx.field(default_factory=lambda: np.ones(6))
    F: Any = eqx.field(kw_only=True)

    @property
    def factor(self):
        return self.gains[..., :, None] * self.F

    def with_factor(self, factor):
        return eqx.tree_at(lambda state: state.F, self, factor / self.gains[..., :, None])

    @property
    def gram(self):
        return self.factor.swapaxes(-1, -2) @ self.factor


@pytest.mark.parametrize(("task", "rnn"), [(FILTER, LINEAR), (TRIALS, ERF), (ov.tasks.label_noise(FILTER, 0.1), LINEAR)])
def test_a_batch_of_states_with_arrays_of_all_shapes(task, rnn):
    gains = np.linspace(0.5, 2.0, 6)
    states = [Weighted(F=TRIANGLE.F / one[:, None], gains=one, rank=2) for one in (gains, gains[::-1])]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    assert batch.batch == (2,)
    run, theory = (ov.learn(state, task, rnn, DESCENT, saves=3, key=1) for state in (batch, NET))
    for one in run["sigma"]:
        np.testing.assert_allclose(one, theory["sigma"], rtol=0, atol=1e-12)


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(TypeError, match="A kind of state must have a name of its own, but 'Overlaps' names one in overlaps"):
        type("Overlaps", (Factored,), {})
    with pytest.raises(TypeError, match="'Network' names one"):
        type("Network", (ov.Network,), {})
    assert type(ov.final_state(ov.learn(NET, FILTER, LINEAR, DESCENT, saves=2))) is ov.Overlaps


def test_what_else_the_library_asks_of_a_state():
    assert repr(TRIANGLE) == "Factored(n=6, inputs=1, rank=2, outputs=1, float64)"
    assert TRIANGLE.visible(LINEAR) == pytest.approx(NET.visible(LINEAR), abs=1e-14)
    for name, charge in ov.conserved(NET, LINEAR).items():
        np.testing.assert_allclose(ov.conserved(TRIANGLE, LINEAR)[name], charge, atol=1e-13)
    np.testing.assert_allclose(ov.metric(TRIANGLE, LINEAR), ov.metric(NET, LINEAR), atol=1e-14)
    output = ov.RNN("tanh", dt=0.1).output(TRIANGLE, np.ones((10, 1)))
    np.testing.assert_allclose(output, ov.RNN("tanh", dt=0.1).output(NET, np.ones((10, 1))), atol=1e-14)
    assert ov.studies.functionally_equal(TRIANGLE, NET, LINEAR)
    teacher = ov.tasks.teacher(TRIANGLE, LINEAR, trials=2, duration=2.0)  # described inside of a task
    run = ov.learn(NET, teacher, LINEAR, ov.GradientDescent(1e-3, 3), saves=2, key=1)
    xr.testing.assert_identical(ov.rerun(run), run)


def test_what_does_not_fit_it_is_refused():
    with pytest.raises(ValueError, match="`observe` must ask for moments of a network or a mean field alone"):
        ov.learn(TRIANGLE, FILTER, LINEAR, DESCENT, observe="moments")
    with pytest.raises(ValueError, match="`optimizer` must commute with rotations"):
        ov.learn(TRIANGLE, FILTER, LINEAR, ov.GradientDescent(1e-3, 5, optax.adam))
    with pytest.raises(ValueError, match="`network` must be a Network or a DenseNetwork, but Factored came"):
        LINEAR.activity(TRIANGLE, np.ones((10, 1)))


def test_a_file_of_a_kind_that_is_not_imported_says_so():
    run = ov.learn(TRIANGLE, FILTER, LINEAR, ov.GradientDescent(1e-2, 2), saves=2)
    run.attrs["state"] = run.attrs["state"].replace("Factored", "Elsewhere")
    with pytest.raises(ValueError, match=r"its state is of the kind Elsewhere\. Import the module that defines it first"):
        ov.final_state(run)


def test_a_gradient_through_its_loss():
    def loss(F):
        return FILTER.loss(TRIANGLE.with_factor(F), LINEAR)

    slope = jax.grad(loss)(jnp.asarray(TRIANGLE.F))
    direction = np.random.default_rng(0).standard_normal(slope.shape)
    numerical = (loss(TRIANGLE.F + 1e-6 * direction) - loss(TRIANGLE.F - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(np.sum(slope * direction), numerical, rtol=1e-7)
