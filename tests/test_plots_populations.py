"""What the figures of populations draw, asserted on their lines and points."""

import jax
import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats

import overlaps as ov
from tests.figure_checks import faults

RANDOM = np.random.default_rng(0)
ROOTS = 0.4 * RANDOM.standard_normal((2, 4, 4))
NET = ov.Populations([0.3, 0.7], [[0, 2, 2, 1], [0, -1, -1, -0.5]], ROOTS @ ROOTS.swapaxes(1, 2))
NETWORK = NET.sample(400, 0)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


class TestAssignment:
    def test_it_is_that_of_the_densities(self):
        densities = [
            weight * scipy.stats.multivariate_normal(mean, covariance).pdf(NETWORK.vectors)
            for weight, mean, covariance in zip(NET.weights, NET.means, NET.covariances, strict=True)
        ]
        labels = NET.assign(NETWORK)
        np.testing.assert_array_equal(labels, np.argmax(densities, axis=0))
        assert set(labels) == {0, 1}

    def test_does_not_depend_on_units(self):
        units = np.array([1e-6, 1.0, 1e6, 1e3])
        scaled = ov.Populations(NET.weights, NET.means * units, NET.covariances * np.outer(units, units))
        network = ov.Network(*(NETWORK.vectors * units).T)
        np.testing.assert_array_equal(scaled.assign(network), NET.assign(NETWORK))

    def test_neurons_on_a_plane_belong_to_the_population_there(self):
        flat = ov.Populations([0.5, 0.5], np.zeros((2, 4)), [np.diag([1.0, 1.0, 1.0, 0.0]), np.eye(4)])
        rows = RANDOM.standard_normal((20, 4)) * [1, 1, 1, 0]
        network = ov.Network(*np.concatenate([rows, rows + np.array([0, 0, 0, 0.1])]).T)
        np.testing.assert_array_equal(flat.assign(network), np.repeat([0, 1], 20))

    def test_what_does_not_fit(self):
        batch = jax.tree.map(lambda *leaves: np.stack(leaves), NETWORK, NETWORK)
        for other in (batch, ov.Network(*NETWORK.vectors.T, b=np.ones(400)), NET.overlaps()):
            with pytest.raises(ValueError, match=r"`network` must be a single Network with the vectors of Populations\(pop"):
                NET.assign(other)


def test_each_population_has_its_mean_and_two_ellipses():
    figure = ov.plots.plot_populations(NET)
    assert [ax.get_title() for ax in figure.axes] == ["vu", "zu", "vm", "zm", "mu", "zv"]
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("entries of u", "entries of v")
    lines = ax.lines[2:]  # the first two are the axes through 0
    assert len(lines) == 6
    for index in range(2):
        mean, covariance = NET.means[index, 1:3], NET.covariances[index, 1:3, 1:3]
        *ellipses, center = lines[3 * index : 3 * index + 3]
        np.testing.assert_array_equal(np.ravel(center.get_data()), mean)
        for deviations, ellipse in enumerate(ellipses, start=1):
            distances = np.stack(ellipse.get_data(), axis=1) - mean
            squares = np.einsum("ti,ij,tj->t", distances, np.linalg.inv(covariance), distances)
            np.testing.assert_allclose(squares, deviations**2, atol=1e-10)
    assert lines[3].get_linewidth() > lines[0].get_linewidth()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["population 0 (30 %)", "population 1 (70 %)"]
    assert [line.get_color() for line in legend.get_lines()] == [lines[0].get_color(), lines[3].get_color()]


def test_neurons_have_the_colours_of_their_populations():
    figure = ov.plots.plot_populations(NET, NETWORK, ["zm", "mv"])
    assert [ax.get_title() for ax in figure.axes] == ["zm", "mv"]
    colors = [line.get_color() for line in figure.legends[0].get_lines()]
    for ax, columns in zip(figure.axes, ([0, 3], [2, 0]), strict=True):
        (points,) = ax.collections
        np.testing.assert_array_equal(points.get_offsets(), NETWORK.vectors[:, columns])
        expected = matplotlib.colors.to_rgba_array([colors[label] for label in NET.assign(NETWORK)])
        np.testing.assert_allclose(points.get_facecolors()[:, :3], expected[:, :3])
    (points,) = ov.plots.plot_populations(NET, NET.sample(10_001, 0), "vu").axes[0].collections
    assert len(points.get_offsets()) == 4000


def test_ten_pairs_are_drawn_with_the_recurrent_ones_first():
    layout = ov.Overlaps.random(0, inputs=2, rank=2, bias=True).layout
    many = ov.Populations(np.full(9, 1 / 9), np.zeros((9, layout.size)), [np.eye(layout.size)] * 9, *layout)
    figure = ov.plots.plot_populations(many)
    titles = ["v1u1", "v1u2", "v2u1", "v2u2", "zu1", "zu2", "v1m1", "v1m2", "v2m1", "v2m2"]
    assert [ax.get_title() for ax in figure.axes] == titles
    handles = figure.legends[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in handles}) == 9
    assert faults(figure) == []


def test_what_is_no_mixture_or_pair_is_refused():
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), NET, NET)
    for other in (batch, NET.overlaps()):
        with pytest.raises(ValueError, match="`populations` must be a single Populations"):
            ov.plots.plot_populations(other)
    with pytest.raises(ValueError, match="`network` must be a single Network with the vectors of"):
        ov.plots.plot_populations(NET, NET.overlaps())
    with pytest.raises(KeyError, match="'vx' came"):
        ov.plots.plot_populations(NET, pairs=["vx"])
    for pairs in (["vu", "uu"], []):
        with pytest.raises(ValueError, match="`pairs` must name pairs of two vectors"):
            ov.plots.plot_populations(NET, pairs=pairs)


def test_errors_and_criterion_are_drawn_over_the_number_of_populations():
    report = ov.Populations.fit(NETWORK, [2, 1], 0, ov.RNN("tanh", dt=0.2), np.sin(np.arange(20)), draws=5).report
    figure = ov.plots.plot_population_fits(report)
    assert faults(figure) == []
    left, right = figure.axes
    median, errors = left.lines
    np.testing.assert_array_equal(errors.get_data(), [[1, 2], report["output_error"].values[::-1]])
    assert median.get_ydata()[0] == np.median(report["resampling_error"])
    (band,) = left.patches
    np.testing.assert_allclose(
        [band.get_y(), band.get_y() + band.get_height()], np.quantile(report["resampling_error"], [0.05, 0.95])
    )
    np.testing.assert_array_equal(right.lines[0].get_data(), [[1, 2], (report["bic"] - report["bic"].min()).values[::-1]])
    for ax in (left, right):
        assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "2"]
        assert ax.get_xlabel() == "number of populations"
    with pytest.raises(ValueError, match=r"`report` must be the report of Populations\.fit, but tuple came"):
        ov.plots.plot_population_fits((report,))
    with pytest.raises(ValueError, match="but it has "):
        ov.plots.plot_population_fits(report.drop_vars("bic"))
