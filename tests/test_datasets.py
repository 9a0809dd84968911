"""Datasets of `learn`: what they contain, netCDF files, and continuing or repeating a run from them."""

import functools
import json
import subprocess
import sys

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import overlaps as ov
from overlaps.learning._describe import describe, restore

TASK, EULER = ov.tasks.exponential_filter(horizon=5.0), ov.RNN(dt=0.1)


def test_dataset_follows_the_contract():
    net = ov.Overlaps.random(0, rank=2)
    dataset = ov.learn(net, TASK, EULER, ov.GradientDescent(1e-2, 50), saves=11)
    assert dict(dataset.sizes) == {"time": 11, "overlap": 21}
    assert list(dataset["overlap"].values[:3]) == ["zm", "zu1", "zu2"]
    np.testing.assert_array_equal(dataset["step"], np.arange(0, 51, 5))
    np.testing.assert_allclose(dataset["time"], 1e-2 * dataset["step"])
    np.testing.assert_array_equal(dataset["overlap"][dataset["visible"].values], list(net.visible(EULER)))
    entry = dataset["overlap"].sel(overlap="v2u1")
    assert (entry["left"], entry["right"], bool(entry["visible"])) == ("v2", "u1", True)
    np.testing.assert_allclose(dataset["sigma"].isel(time=0).sel(overlap="u1u2"), net["u1u2"], atol=1e-15)
    for name in dataset.variables:
        assert dataset[name].attrs["long_name"]
        assert dataset[name].attrs["units"]
    assert json.loads(dataset.attrs["task"])["horizon"] == 5.0


@pytest.mark.parametrize(("steps", "saves", "expected"), [(50, 201, 51), (1, 2, 2), (1000, 37, 37)])
def test_saves_count_points(steps, saves, expected):
    net = ov.Overlaps.random(0)
    dataset = ov.learn(net, TASK, EULER, ov.GradientDescent(1e-3, steps), saves=saves)
    assert dataset.sizes["time"] == expected
    assert (dataset["step"][0], dataset["step"][-1]) == (0, steps)
    every = ov.learn(net, TASK, EULER, ov.GradientDescent(1e-3, steps), saves=steps + 1)
    np.testing.assert_array_equal(dataset["sigma"], every["sigma"][dataset["step"].values])


@pytest.mark.slow
def test_flow_saves_from_start_to_end():
    dataset = ov.learn(ov.Overlaps.random(0), TASK, EULER, ov.GradientFlow(1.5), saves=24)
    np.testing.assert_allclose(dataset["time"], np.linspace(0, 1.5, 24), atol=1e-15)
    assert "step" not in dataset.coords
    assert dataset.attrs["solver_num_accepted_steps"] <= dataset.attrs["solver_num_steps"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("full", "rule"),
    [
        (False, ov.GradientFlow(0.5, solver=diffrax.Dopri5())),
        (True, ov.GradientDescent(1e-2, 40, optimizer=functools.partial(optax.sgd, momentum=0.5), rates={"z": 0.5})),
    ],
)
def test_files_states_and_repeats(full, rule, tmp_path):
    network = ov.Overlaps.random(0).sample(12, 0)
    state = network if full else network.overlaps()
    dataset = ov.learn(state, TASK, EULER, rule, saves=11, key=3)
    dataset.to_netcdf(tmp_path / "run.nc")
    loaded = xr.load_dataset(tmp_path / "run.nc")
    xr.testing.assert_identical(loaded, dataset)
    start, end = ov.initial_state(loaded), ov.final_state(loaded)
    assert type(start) is type(end) is type(state)
    np.testing.assert_array_equal(start.overlaps().gram, state.overlaps().gram)
    np.testing.assert_allclose(end.overlaps()["zm"].item(), dataset["sigma"].sel(overlap="zm")[-1], atol=1e-14)
    xr.testing.assert_identical(ov.rerun(loaded), dataset)


def test_a_run_can_be_continued():
    for state in (ov.Overlaps.random(0), ov.Overlaps.random(0).sample(12, 0)):
        halves = ov.learn(state, TASK, EULER, ov.GradientDescent(1e-2, 50))
        halves = ov.learn(ov.final_state(halves), TASK, EULER, ov.GradientDescent(1e-2, 50))
        whole = ov.learn(state, TASK, EULER, ov.GradientDescent(1e-2, 100))
        np.testing.assert_allclose(halves["sigma"][-1], whole["sigma"][-1], atol=1e-13)


@pytest.mark.parametrize(
    "phi",
    [
        functools.partial(jax.nn.leaky_relu, negative_slope=0.1),
        jax.scipy.special.erf,
        jax.lax.erf,
        ov.Transfer(jnp.tanh),
        ov.Transfer(functools.partial(jax.nn.elu, alpha=0.5)),
    ],
)
def test_public_functions_and_partials_of_them_can_be_written_down(phi):
    x = np.linspace(-2, 2, 7)
    again = restore(json.loads(json.dumps(describe(ov.RNN(phi, dt=0.1)))))
    assert again.dt == 0.1
    np.testing.assert_array_equal(again.rate(x), ov.RNN(phi).rate(x))


def test_what_cannot_be_written_down_is_refused_by_rerun():
    rule = ov.GradientDescent(1e-2, 5, optimizer=lambda rate: optax.sgd(rate))
    dataset = ov.learn(ov.Overlaps.random(0), TASK, EULER, rule)
    with pytest.raises(ValueError, match=r"hold only what can be written down, but it holds <function"):
        ov.rerun(dataset)


@pytest.mark.slow
def test_other_numbers_do_not_compile_again():
    compiled = []  # programs of a horizon that no other test has, and may have compiled before
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else None
    )
    try:
        for rule in (
            lambda rate, length: ov.GradientDescent(rate, 10 * length),
            lambda rate, length: ov.GradientFlow(length / 10, rtol=rate * 1e-4),
            lambda rate, length: ov.GradientDescent(rate, 9, functools.partial(optax.sgd, momentum=0.9)),
        ):
            net = ov.Overlaps.random(0)
            ov.learn(net, ov.tasks.exponential_filter(0.2, 1.0, 4.3), EULER, rule(1e-3, 1))
            before = len(compiled)
            assert before > 0
            other = net.replace(zm=0.3)
            ov.learn(other, ov.tasks.exponential_filter(0.3, 1.5, 4.3), EULER, rule(2e-3, 3))
            assert len(compiled) == before
    finally:
        jax.monitoring.clear_event_listeners()


def test_plots_draw_what_the_dataset_holds():
    network = ov.Overlaps.random(0).sample(12, 0)
    rule = ov.GradientDescent(1e-2, 40)
    theory, simulation = ov.learn(network.overlaps(), TASK, EULER, rule), ov.learn(network, TASK, EULER, rule)
    ax = ov.plots.plot_learning(theory)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), theory["loss"])
    assert ax.get_yscale() == "log"
    for visible, number in ((None, 10), (True, 4), (False, 6)):
        ax = ov.plots.plot_overlaps(theory, visible=visible)
        assert len(ax.lines) == number
        for line in ax.lines:
            np.testing.assert_array_equal(line.get_ydata(), theory["sigma"].sel(overlap=line.get_label()))
    figure = ov.plots.plot_comparison(theory, simulation)
    assert [len(ax.lines) for ax in figure.axes] == [2, 8, 12]
    assert figure.axes[1].lines[0].get_color() is not None
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_color(), figure.axes[1].lines[4].get_color())


WITHOUT_THE_FLAG = """
import jax, jax.numpy as jnp, numpy as np, overlaps as ov
assert not jax.config.jax_enable_x64
net = ov.Overlaps.random(0)
task, rnn = ov.tasks.exponential_filter(horizon=5.0), ov.RNN(dt=0.1)
assert net.gram.dtype == np.float64 and isinstance(net.gram, np.ndarray)
assert net.sample(9, 0).m.dtype == np.float64
assert task.loss(net, rnn).dtype == np.float64
dataset = ov.learn(net, task, rnn, ov.GradientDescent(1e-2, 20))
assert dataset["sigma"].dtype == np.float64
print(repr(float(dataset["loss"][-1])))
assert rnn.system(net).A.dtype == np.float64
assert float(jax.jit(lambda x: x * net.sample(9, 0).m.sum())(1.0)) != 0.0
assert jax.jit(lambda x: task.loss(net, rnn).dtype == np.float64)(1.0)
weights = jnp.ones(3)
assert (weights * np.float64(2)).dtype == jnp.float32 and not jax.config.jax_enable_x64
for trace in (
    lambda: jax.jit(lambda gram: task.loss(ov.Overlaps(gram), rnn))(net.gram),
    lambda: jax.grad(lambda gram: task.loss(ov.Overlaps(gram), rnn))(net.gram),
    lambda: jax.vmap(lambda key: ov.Overlaps.random(key))(jax.random.split(jax.random.key(0), 2)),
    lambda: jax.jit(lambda gram: ov.Overlaps(gram).replace(uu=2.0).gram)(net.gram),
    lambda: jax.vmap(lambda gram: ov.learn(ov.Overlaps(gram), task, rnn, ov.GradientFlow(1.0)))(net.gram[None]),
):
    try:
        trace()
    except RuntimeError as error:
        assert "jax_enable_x64" in str(error) and str(error).count(". ") == 1, error
    else:
        raise AssertionError("float32 went unnoticed")
"""


@pytest.mark.slow
def test_without_the_flag_results_are_float64_and_traces_are_refused():
    done = subprocess.run([sys.executable, "-c", WITHOUT_THE_FLAG], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    net = ov.Overlaps.random(0)
    expected = ov.learn(net, TASK, EULER, ov.GradientDescent(1e-2, 20))["loss"][-1]
    assert float(done.stdout) == pytest.approx(float(expected), rel=1e-13)
