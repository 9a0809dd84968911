"""What the figures draw, asserted on their lines and images."""

import contextlib

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import overlaps as ov
from tests.figure_checks import faults

TASK, OTHER = ov.tasks.exponential_filter(0.2, horizon=4.0), ov.tasks.exponential_filter(0.5, horizon=4.0)
RNN, DESCENT = ov.RNN(dt=0.1), ov.GradientDescent(1e-2, 20)
STATES = [ov.Overlaps.random(seed) for seed in range(3)]
BATCH = jax.tree.map(lambda *leaves: np.stack(leaves), *STATES)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def protocol():
    return ov.learn(STATES[0], [ov.Phase(name, TASK, DESCENT) for name in ("A", "B", "C")], RNN, saves=5)


@pytest.fixture(scope="module")
def rates():
    return ov.learn(STATES[0], TASK, RNN, ov.GradientDescent([1e-2, 2e-2, 5e-3], 20), saves=5)


def test_networks_of_a_batch_are_lines_over_their_own_time(rates):
    ax = ov.plots.plot_learning(rates)
    for line, times, values in zip(ax.lines, rates["learning_time"].values, rates["loss"].values, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), times)
        np.testing.assert_array_equal(line.get_ydata(), values)
    ax = ov.plots.plot_overlaps(rates, visible=True, color="k")
    assert [line.get_color() for line in ax.lines] == ["k"] * 12
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), rates["sigma"].sel(overlap="zm")[2])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["zm", "zu", "vm", "vu"]


def test_drifts_of_charges_are_drawn_for_each_network(rates):
    together = ov.learn(BATCH, TASK, RNN, DESCENT, saves=5)
    for dataset, times in ((rates, rates["learning_time"].values), (together, [together["time"].values] * 3)):
        charges = ov.conserved(dataset)
        ax = ov.plots.plot_conserved(charges)
        assert [text.get_text() for text in ax.get_legend().get_texts()] == list(charges.data_vars)
        assert len(ax.lines) == 9
        lines = iter(ax.lines)
        for name in charges.data_vars:
            values = charges[name].values.reshape(3, 5, -1)
            for network in range(3):
                line = next(lines)
                np.testing.assert_array_equal(line.get_xdata(), times[network])
                expected = np.abs(values[network] - values[network, :1]).max(-1)
                np.testing.assert_array_equal(line.get_ydata()[1:], expected[1:])
                assert np.isnan(line.get_ydata()[0])  # no drift at the start, on a logarithmic axis


def test_phases_are_shaded_and_named(protocol):
    for ax in (
        ov.plots.plot_learning(protocol),
        ov.plots.plot_overlaps(protocol),
        ov.plots.plot_conserved(ov.conserved(protocol)),
    ):
        assert [text.get_text() for text in ax.texts] == ["A", "B", "C"]
        np.testing.assert_allclose([text.get_position()[0] for text in ax.texts], [0.1, 0.3, 0.5])
        (shade,) = ax.patches
        np.testing.assert_allclose([shade.get_x(), shade.get_x() + shade.get_width()], [0.2, 0.4])
    stopped = ov.GradientDescent(1e-2, 20, stop_loss=1e-9)
    batch = ov.learn(BATCH, [ov.Phase(name, TASK, stopped) for name in ("A", "B")], RNN, saves=5)
    assert not ov.plots.plot_learning(batch).texts  # phases have no common time
    assert len(ov.plots.plot_learning(batch.isel(batch=1)).texts) == 2


def test_metric_is_drawn_with_visible_overlaps_first():
    metric = ov.metric(STATES[0], RNN)
    mixed = metric.isel(overlap=[9, 0, 8, 1, 2, 7, 3, 4, 5, 6], source=[9, 0, 8, 1, 2, 7, 3, 4, 5, 6])
    for given in (metric, mixed):
        ax = ov.plots.plot_metric(given)
        labels = [text.get_text() for text in ax.get_yticklabels()]
        assert labels == [text.get_text() for text in ax.get_xticklabels()]
        assert set(labels[:4]) == {"zm", "zu", "vm", "vu"}
        np.testing.assert_array_equal(ax.images[0].get_array(), metric.sel(overlap=labels, source=labels))
        assert [list(line.get_ydata()) for line in ax.lines] == [[3.5, 3.5], [0, 1]]
    with pytest.raises(ValueError, match="`metric` must be that of one network"):
        ov.plots.plot_metric(ov.metric(BATCH, RNN))


@pytest.mark.parametrize("style", [ov.plots.style, contextlib.nullcontext])
def test_nothing_lies_over_anything_else(protocol, style):
    charges, rnn = ov.conserved(protocol), ov.RNN("erf", dt=0.1)
    flip_flop = ov.tasks.flip_flop(0, trials=2)
    net = ov.Overlaps(4 * np.eye(4)).replace(vu=1.5, vm=1.0)
    with style():
        assert faults(ov.plots.plot_comparison(protocol, protocol)) == []
        figure, axes = plt.subplots(2, 2, figsize=(8, 7), layout="constrained")
        ov.plots.plot_conserved(charges, axes[0, 0]).set_title("charges", pad=20)  # above the names of the phases
        ov.plots.plot_overlaps(protocol, axes[0, 1]).set_title("all overlaps", pad=20)
        ov.plots.plot_trial(flip_flop, rnn.output(net, flip_flop.inputs), ax=axes[1, 0]).set_title("trial")
        portrait = rnn.phase_portrait(net, points=9, extent=0.5)
        ax = ov.plots.plot_phase_portrait(portrait, rnn.latents(net, flip_flop.inputs), axes[1, 1])
        ax.set_title("portrait")
        assert faults(figure) == []
        assert [len(below.lines) for below in ax.child_axes] == [2]  # a panel with the trajectories of two trials
        ax.legend(loc="center")
        assert any(fault.startswith("legend") or "over legend" in fault for fault in faults(figure))


def test_an_overlap_has_one_colour_in_all_panels(protocol):
    figure = ov.plots.plot_comparison(protocol, protocol)
    alone = ov.plots.plot_overlaps(protocol)
    for line in [line for ax in [*figure.axes[1:], alone] for line in ax.lines if len(line.get_label()) == 2]:
        assert line.get_color() == ov.plots.overlap_colour(line.get_label())
        np.testing.assert_array_equal(line.get_ydata(), protocol["sigma"].sel(overlap=line.get_label()))
    assert ov.plots.plot_overlaps(protocol, c="k", ls="none").lines[0].get_color() == "k"


@pytest.mark.slow
def test_eigenvalues_outliers_and_regimes():
    net = ov.DenseNetwork.random(0, 12, 0.2)
    task = ov.tasks.damped_oscillation(0.3, 1.0, horizon=4.0)
    dataset = ov.learn(net, task, RNN, DESCENT, saves=5)
    ax = ov.plots.plot_eigenvalues(dataset, bulk=0.2)
    drawn = {line.get_label(): line for line in ax.lines}
    assert np.array_equal(drawn["end"].get_xdata(), dataset["eigenvalue_real"].values[-1])
    assert np.allclose(np.hypot(*drawn["bulk"].get_data()), 0.2)
    reached = 1 + (np.exp((-0.3 + 1.0j) * RNN.dt) - 1) / RNN.dt  # the eigenvalue whose Euler steps are the target
    assert np.allclose(sorted(drawn["target"].get_ydata()), [-reached.imag, reached.imag])
    assert np.allclose(drawn["target"].get_xdata(), reached.real)
    with pytest.raises(ValueError, match="`dataset` must be that of `learn` on one DenseNetwork"):
        ov.plots.plot_eigenvalues(ov.learn(STATES[0], TASK, RNN, DESCENT, saves=5))
    pair = ov.integration.pair_flow(0.3, 1.0, np.linspace(0, 1, 5))
    lines = ov.plots.plot_outlier(pair, label="theory").lines
    assert [line.get_label() for line in lines] == ["theory Re", "theory Im"]
    assert np.array_equal(lines[1].get_ydata(), pair["outlier_imag"])
    regimes = ov.integration.compare_regimes(0.5, 0.2, n=6, duration=0.2, saves=3)
    figure = ov.plots.plot_regimes(regimes)
    assert faults(figure) == []
    left, middle, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["simulation", "rich", "krylov", "lazy"]
    assert [line.get_label() for line in middle.lines[:3]] == ["simulation", "rich", "krylov"]
    assert np.array_equal(right.lines[3].get_ydata(), regimes["weight_change"].sel(theory="lazy"))
