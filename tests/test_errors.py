"""Each bad input raises one clear error, in one form. A run that ends early keeps what it has computed."""

import re

import diffrax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import overlaps as ov

NET = ov.Overlaps.random(0)
TASK, RNN = ov.tasks.exponential_filter(horizon=5.0), ov.RNN(dt=0.1)
UNSTABLE = NET.replace(uu=9.0, vv=9.0, vu=1.5)
VECTORS = np.ones((5, 1))


def skewed(row, column, value):
    gram = np.eye(4)
    gram[row, column] = value
    return gram


CASES = {
    "not PSD": (
        lambda: ov.Overlaps(np.diag([1.0, 1, 1, -0.3])),
        "gram",
        "positive semi-definite, but its smallest eigenvalue is -0.3",
    ),
    "asymmetric": (lambda: ov.Overlaps(skewed(0, 1, 0.5)), "gram", "symmetric"),
    "NaN": (lambda: ov.Overlaps(skewed(0, 0, np.nan)), "gram", "finite"),
    "infinite": (lambda: ov.Overlaps(skewed(0, 0, np.inf)), "gram", "finite"),
    "wrong shape": (lambda: ov.Overlaps(np.eye(5)), "gram", r"have shape \(4, 4\)"),
    "no matrix": (lambda: ov.Overlaps(np.ones(4)), "gram", r"have shape \(4, 4\)"),
    "text": (lambda: ov.Overlaps([["a"]]), "gram", "real array"),
    "complex": (lambda: ov.Overlaps(1j * np.eye(4)), "gram", "real array"),
    "ragged": (lambda: ov.Overlaps([[1, 2], [3]]), "gram", "rectangular"),
    "rank 0": (lambda: ov.Overlaps(np.eye(4), rank=0), "rank", "at least 1"),
    "fractional rank": (lambda: ov.Overlaps(np.eye(4), rank=True), "rank", "whole number"),
    "mismatched N": (lambda: ov.Overlaps.from_vectors(VECTORS, VECTORS, np.ones((6, 1)), VECTORS), "v", "have 5 rows"),
    "mismatched rank": (lambda: ov.Network(VECTORS, np.ones((5, 2)), VECTORS, VECTORS), "v", "have 2 columns"),
    "empty vectors": (lambda: ov.Network(*[np.ones((0, 1))] * 4), "m", "not empty"),
    "NaN vectors": (lambda: ov.Network(np.nan * VECTORS, VECTORS, VECTORS, VECTORS), "m", "finite"),
    "scale": (lambda: ov.Overlaps.random(0, scale=-1.0), "scale", "greater than 0"),
    "key": (lambda: ov.Overlaps.random("seed"), "key", "jax.random key or an integer seed"),
    "replace breaks PSD": (lambda: NET.replace(zm=5.0), "zm", "leave the overlap matrix positive semi-definite"),
    "replace shape": (lambda: ov.Overlaps.random(0, rank=2).replace(uu=2.0), "uu", r"have shape \(2, 2\)"),
    "replace asymmetric": (lambda: ov.Overlaps.random(0, rank=2).replace(uu=[[2, 1], [0, 2]]), "uu", "symmetric"),
    "too few neurons": (lambda: NET.sample(3, 0), "n", "at least 4"),
    "no neurons": (lambda: NET.sample(0, 0, exact=False), "n", "at least 1"),
    "negative rate": (lambda: ov.tasks.exponential_filter(-0.1), "rate", "at least 0"),
    "NaN rate": (lambda: ov.tasks.exponential_filter(np.nan), "rate", "at least 0"),
    "negative frequency": (lambda: ov.tasks.damped_oscillation(frequency=-1.0), "frequency", "greater than 0"),
    "horizon": (lambda: ov.tasks.exponential_filter(horizon=0.0), "horizon", "greater than 0"),
    "integrator": (lambda: ov.tasks.exponential_filter(0.0, horizon=None), "horizon", "does not decay"),
    "filter shapes": (
        lambda: ov.tasks.linear_filter(np.eye(2), np.ones((3, 1)), np.ones((1, 2))),
        "B",
        r"have shape \(n, inputs\) with n = 2",
    ),
    "filter vectors": (
        lambda: ov.tasks.linear_filter(np.eye(2), np.ones(2), np.ones((1, 2))),
        "B",
        r"have shape \(n, inputs\) with n = 2",
    ),
    "phi": (lambda: ov.RNN(phi="sine"), "phi", "one of 'linear'"),
    "tau": (lambda: ov.RNN(tau=0.0), "tau", "greater than 0"),
    "dt": (lambda: ov.RNN(dt=-0.1), "dt", "greater than 0"),
    "dt above tau": (lambda: ov.RNN(dt=1.5), "dt", "at most tau"),
    "steps": (lambda: ov.GradientDescent(steps=0), "steps", "at least 1"),
    "learning rate": (lambda: ov.GradientDescent(learning_rate=-1e-3), "learning_rate", "greater than 0"),
    "optimizer instance": (lambda: ov.GradientDescent(optimizer=optax.sgd(0.1)), "optimizer", "function of the learning rate"),
    "duration": (lambda: ov.GradientFlow(duration=0.0), "duration", "greater than 0"),
    "tolerance": (lambda: ov.GradientFlow(rtol=0.0), "rtol", "greater than 0"),
    "solver": (lambda: ov.GradientFlow(solver="euler"), "solver", "diffrax solver with an error estimate"),
    "max_steps": (lambda: ov.GradientFlow(max_steps=0), "max_steps", "at least 1"),
    "relative rate": (lambda: ov.GradientFlow(rates={"m": -1.0}), r"rates\['m'\]", "at least 0"),
    "rate of nothing": (lambda: ov.learn(NET, TASK, RNN, ov.GradientFlow(rates={"w": 1.0})), "rates", "name letters or labels"),
    "all frozen": (
        lambda: ov.learn(NET, TASK, RNN, ov.GradientFlow(rates=dict.fromkeys("muvz", 0.0))),
        "rates",
        "leave something to learn",
    ),
    "inputs": (lambda: ov.learn(ov.Overlaps.random(0, inputs=2), TASK, RNN, ov.GradientFlow()), "state", "have 1 inputs"),
    "outputs": (lambda: TASK.loss(ov.Overlaps.random(0, outputs=2), RNN), "state", "have 1 outputs"),
    "horizon off grid": (lambda: TASK.loss(NET, ov.RNN(dt=0.3)), "horizon", "whole multiple of dt"),
    "unstable": (lambda: ov.tasks.exponential_filter(horizon=None).loss(UNSTABLE, ov.RNN()), "state", "stable network"),
    "unstable Euler": (
        lambda: ov.learn(UNSTABLE.sample(9, 0), ov.tasks.exponential_filter(horizon=None), RNN, ov.GradientDescent()),
        "state",
        "stable network",
    ),
    "adam": (lambda: ov.learn(NET, TASK, RNN, ov.GradientDescent(optimizer=optax.adam)), "optimizer", "rotations"),
    "rms": (
        lambda: ov.learn(NET, TASK, RNN, ov.GradientDescent(optimizer=lambda _: optax.scale_by_rms())),
        "optimizer",
        "rotations",
    ),
    "block rms clipping": (
        lambda: ov.learn(
            NET,
            TASK,
            RNN,
            ov.GradientDescent(optimizer=lambda rate: optax.chain(optax.clip_by_block_rms(0.1), optax.sgd(rate))),
        ),
        "optimizer",
        "rotations",
    ),
    "saves": (lambda: ov.learn(NET, TASK, RNN, ov.GradientFlow(), saves=1), "saves", "at least 2"),
    "precision": (lambda: ov.learn(NET, TASK, RNN, ov.GradientFlow(), precision="half"), "precision", "one of"),
    "state": (
        lambda: ov.learn(np.eye(4), TASK, RNN, ov.GradientFlow()),
        "state",
        "be an Overlaps, MeanField, Network or DenseNetwork",
    ),
    "rule": (lambda: ov.learn(NET, TASK, RNN, optax.adam(1e-3)), "rule", "be a GradientFlow or a GradientDescent"),
    "float32": (
        lambda: ov.learn(ov.Network(*[np.ones((5, 1), np.float32)] * 4), TASK, RNN, ov.GradientFlow()),
        "state",
        "hold float64 arrays, but it holds float32",
    ),
    "foreign dataset": (
        lambda: ov.final_state(ov.learn(NET, TASK, RNN, ov.GradientDescent(1e-3, 1)).drop_attrs()),
        "dataset",
        "be a result of `learn`",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gets_one_clear_error(case):
    act, argument, requirement = CASES[case]
    with pytest.raises(ValueError, match=requirement) as caught:
        act()
    assert re.search(rf"Argument `{argument}` must .+, but .+\.", str(caught.value)), caught.value


@pytest.mark.parametrize("name", ["xx", "zq", "u1", "zu3", ""])
def test_unknown_overlap_names(name):
    for act in (lambda: ov.Overlaps.random(0, rank=2)[name], lambda: ov.Overlaps.random(0, rank=2).replace(**{name: 1.0})):
        with pytest.raises(KeyError, match=r"must be a block .* or two vector labels out of m, u1, u2, v1, v2, z"):
            act()


@pytest.mark.parametrize("state", [NET, NET.sample(9, 0)])
def test_divergence_names_the_step_and_keeps_the_trajectory(state):
    rule = ov.GradientDescent(learning_rate=0.6, steps=300)
    with pytest.raises(ov.DivergenceError, match=r"at step \d+ \(learning time .*Lower `learning_rate` \(now 0.6\)") as caught:
        ov.learn(state, TASK, RNN, rule, saves=301)
    step = int(re.search(r"at step (\d+)", str(caught.value)).group(1))
    kept = caught.value.dataset
    np.testing.assert_array_equal(kept["step"], np.arange(step))
    assert np.all(np.isfinite(kept["loss"]))
    assert np.all(np.isfinite(kept["sigma"]))
    shorter = ov.learn(state, TASK, RNN, ov.GradientDescent(0.6, step - 1), saves=step)
    np.testing.assert_allclose(shorter["loss"], kept["loss"], rtol=1e-9)


@pytest.mark.parametrize("state", [NET, NET.sample(9, 0)])
def test_a_run_that_diverged_has_no_final_state_but_its_last_good_overlaps(state):
    with pytest.raises(ov.DivergenceError) as caught:
        ov.learn(state, TASK, RNN, ov.GradientDescent(0.6, 300), saves=3)
    with pytest.raises(ValueError, match="come from a run that reached its end"):
        ov.final_state(caught.value.dataset)


def test_a_run_that_diverges_between_saved_points_is_one_that_has_started():
    with pytest.raises(ov.DivergenceError, match="Learning stopped: at step 8") as caught:
        ov.learn(NET, ov.tasks.exponential_filter(horizon=4.0), RNN, ov.GradientDescent(0.6, 30), saves=2)
    np.testing.assert_array_equal(caught.value.dataset["step"], [0, 6])


def test_a_loss_that_explodes_is_stopped_before_it_overflows():
    with pytest.raises(ov.DivergenceError) as caught:
        ov.learn(NET, TASK, RNN, ov.GradientDescent(0.5, 300))  # reaches 1e50 at one step, and overflows at the next
    assert 1e9 < float(re.search(r"the loss was (\S+), from", str(caught.value)).group(1)) < 1e300


@pytest.mark.slow
def test_a_loss_that_is_not_finite_to_begin_with_is_no_matter_of_learning_rates():
    growing = NET.replace(uu=1e4, vv=1e4, vu=80.0)
    for rule in (ov.GradientDescent(1e-3, 5), ov.GradientFlow(1.0)):
        with pytest.raises(ov.DivergenceError, match=r"Learning cannot start: .* scale u and v down"):
            ov.learn(growing, ov.tasks.exponential_filter(horizon=5.0), ov.RNN(), rule)


def test_a_network_too_fast_to_be_resolved_in_continuous_time_is_refused():
    for size in (1e6, 1e100):
        fast = NET.replace(uu=size, vv=size).sample(9, 0)
        with pytest.raises(ValueError, match=r"`state` must be slow enough .* too fast to be resolved: scale u and v down"):
            TASK.loss(fast, ov.RNN())
    with pytest.raises(ValueError, match=r"`task` must be slow enough .* slow its fastest pole down"):
        ov.tasks.exponential_filter(1e6, horizon=4.0).loss(NET.sample(9, 0), ov.RNN())
    with pytest.raises(ValueError, match=r"`state` must be slow enough"):
        TASK.loss(ov.Overlaps.random(0, scale=1e12), ov.RNN())


def test_wrong_kinds_of_arguments_are_named():
    for act, message in (
        (lambda: ov.learn(NET, RNN, TASK, ov.GradientFlow()), "`rnn` must be an RNN, but LinearFilter came"),
        (lambda: ov.learn(NET, NET, RNN, ov.GradientFlow()), "`task` must be one of `overlaps.tasks`"),
        (lambda: ov.GradientFlow(solver=diffrax.Euler()), "`solver` must be a diffrax solver with an error estimate"),
        (lambda: ov.GradientFlow(rates=[1, 2]), "`rates` must be a mapping"),
        (lambda: ov.learn(NET, TASK, RNN, ov.GradientDescent(optimizer=lambda rate: 3)), "`optimizer` must return an optax"),
        (lambda: ov.learn(NET, TASK, RNN, ov.GradientDescent(optimizer=optax.lbfgs)), "`optimizer` must return an optax"),
        (lambda: ov.tasks.exponential_filter("0.2"), "`rate` must be a number"),
        (lambda: ov.GradientFlow(True), "`duration` must be a number"),
    ):
        with pytest.raises(ValueError, match=message):
            act()


@pytest.mark.slow
def test_a_flow_that_cannot_go_on_says_so_and_keeps_the_trajectory():
    with pytest.raises(ov.DivergenceError, match="needed more than max_steps = 30 steps") as caught:
        ov.learn(NET, TASK, RNN, ov.GradientFlow(50.0, max_steps=30))
    assert 0 < caught.value.dataset.sizes["time"] < 201


@pytest.mark.slow
def test_a_flow_with_infinite_gradients_stops():
    class Cliff(ov.tasks.LinearFilter):
        """A task whose loss becomes NaN when zm has grown."""

        def objective(self, state, rnn):
            loss = super().objective(state, rnn)
            return lambda state: loss(state) + 0 * jnp.sqrt(0.5 - state.overlaps()["zm"][0, 0])

    with pytest.raises(ov.DivergenceError, match="solver stopped at learning time") as caught:
        ov.learn(NET, Cliff([[-0.2]], [[1.0]], [[1.0]], 5.0), RNN, ov.GradientFlow(5.0))
    assert float(caught.value.dataset["sigma"].sel(overlap="zm")[-1]) == pytest.approx(0.5, abs=0.05)


def test_an_interrupt_keeps_the_trajectory(monkeypatch):
    from overlaps.learning import _learn

    class Impatient(_learn.tqdm):
        def update(self, n=1):
            super().update(n)
            if self.n >= 50:
                raise KeyboardInterrupt

    monkeypatch.setattr(_learn, "tqdm", Impatient)
    with pytest.raises(KeyboardInterrupt) as caught:
        ov.learn(NET, TASK, RNN, ov.GradientDescent(1e-3, 200), progress=True)
    kept = caught.value.dataset
    assert 50 <= kept["step"][-1] < 200
    monkeypatch.undo()
    rest = ov.learn(ov.final_state(kept), TASK, RNN, ov.GradientDescent(1e-3, 200 - int(kept["step"][-1])))
    whole = ov.learn(NET, TASK, RNN, ov.GradientDescent(1e-3, 200))
    np.testing.assert_allclose(rest["sigma"][-1], whole["sigma"][-1], atol=1e-13)
