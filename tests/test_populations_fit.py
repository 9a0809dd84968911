"""Fits of populations to networks with odd phi: a neuron and its mirror image act alike, so the fit may take either."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import overlaps as ov

DT = 0.2
TANH, SOFTPLUS = ov.RNN("tanh", dt=DT), ov.RNN("softplus", dt=DT)
INPUTS = np.sin(0.7 * np.arange(40))
TWO = ov.Populations([0.4, 0.6], [[2, 0, 1, 0.5], [-1, 1, 0.5, 2]], [0.1 * np.eye(4), 0.2 * np.eye(4)])
NEURONS = 2000


def turned(network, seed=0):
    """The network with half of its neurons, chosen at random, in place of their mirror images."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], network.n)
    return ov.Network(**network.layout.vectors(signs[:, None] * network.vectors), c=network.c)


STRAIGHT = TWO.sample(NEURONS, 0)
MIRRORED = turned(STRAIGHT)


class TestMirrorImages:
    @pytest.mark.parametrize("phi", ["linear", "erf", "tanh"])
    def test_they_act_and_learn_alike_if_phi_is_odd(self, phi):
        random = np.random.default_rng(1)
        vectors = {name: random.standard_normal((50, 1)) for name in "muvz"}
        network = ov.Network(**vectors, b=random.standard_normal(50), h0=random.standard_normal(50), c=[0.3])
        rnn, task = ov.RNN(phi, dt=DT), ov.tasks.flip_flop(0, trials=2, duration=4.0, dt=DT)
        runs = [ov.learn(net, task, rnn, ov.GradientDescent(0.1, 10), saves=2) for net in (network, turned(network))]
        for name in ("sigma", "loss"):
            np.testing.assert_allclose(runs[0][name], runs[1][name], atol=1e-12)

    def test_they_do_not_if_phi_is_not_odd(self):
        difference = SOFTPLUS.output(MIRRORED, INPUTS) - SOFTPLUS.output(STRAIGHT, INPUTS)
        assert np.abs(difference).max() > 0.1


class TestFit:
    def test_it_finds_populations_up_to_the_sign(self):
        found = ov.Populations.fit(MIRRORED, 2, 0, TANH)
        order = np.argsort(found.weights)
        signs = np.sign(np.sum(found.means[order] * TWO.means, axis=1))
        np.testing.assert_allclose(found.weights[order], TWO.weights, atol=4 * np.sqrt(0.24 / NEURONS))
        np.testing.assert_allclose(signs[:, None] * found.means[order], TWO.means, atol=5 * np.sqrt(0.2 / 800))
        np.testing.assert_allclose(found.covariances[order], TWO.covariances, atol=5 * 0.2 * np.sqrt(2 / 800))

    def test_it_describes_what_no_two_populations_of_the_neurons_describe(self):
        output = TANH.output(MIRRORED, INPUTS)
        plain, better = (
            np.sqrt(((TANH.output(net, INPUTS) - output) ** 2).mean() / (output**2).mean())
            for net in (ov.Populations.fit(MIRRORED, 2, 0), ov.Populations.fit(MIRRORED, 2, 0, TANH))
        )
        assert better < 5 / np.sqrt(NEURONS)
        assert plain > 3 * better

    @pytest.mark.parametrize("count", [1, 3])
    def test_the_overlap_matrix_is_kept(self, count):
        random = np.random.default_rng(2)
        vectors = {"m": (400, 2), "u": (400, 2), "v": (400, 2), "z": (400, 1), "b": (400,)}
        vectors = {name: random.standard_normal(shape) ** 3 for name, shape in vectors.items()}
        network = ov.Network(**vectors, c=[0.2])
        found = ov.Populations.fit(network, count, 0, TANH)
        np.testing.assert_allclose(found.gram, network.gram, atol=1e-12 * np.abs(network.gram).max())
        assert found.weights.sum() == pytest.approx(1.0, abs=1e-14)
        assert found.layout == network.layout
        assert found.c == network.c

    @pytest.mark.parametrize("rnn", [TANH, SOFTPLUS])
    def test_vectors_may_be_linearly_dependent(self, rnn):
        """A bias that is also the initial activity, as imported networks have it, adds nothing that a fit could see."""
        vectors = STRAIGHT.vectors @ np.random.default_rng(3).standard_normal((4, 5))
        blocks = {name: vectors[:, [place]] for place, name in enumerate("muvz")}
        once = ov.Network(**blocks, b=vectors[:, 0] + 2 * vectors[:, 1])
        twice = ov.Network(**blocks, b=once.b, h0=once.b)
        fits, report = ov.Populations.fit(twice, [1, 2], 0, rnn, INPUTS, draws=1)
        for found in fits.values():
            np.testing.assert_allclose(found.gram, twice.gram, atol=1e-12 * np.abs(twice.gram).max())
            places = [found.layout.labels.index(label) for label in "bh"]
            np.testing.assert_allclose(*found.means[:, places].T, atol=1e-12)
        assert float(report["output_error"].sel(count=2)) < 0.05

    def test_other_phi_leave_the_neurons_as_they_are(self):
        plain, other = ov.Populations.fit(MIRRORED, 3, 0), ov.Populations.fit(MIRRORED, 3, 0, SOFTPLUS)
        for name in ("weights", "means", "covariances"):
            np.testing.assert_array_equal(getattr(plain, name), getattr(other, name))

    @pytest.mark.parametrize(("rnn", "images"), [(TANH, (1.0, -1.0)), (SOFTPLUS, (1.0,))])
    def test_the_criterion_is_that_of_the_density_of_the_neurons(self, rnn, images):
        """The populations come from one more step of the fit, which had stopped at a gain of 1e-3 per neuron."""
        fits, report = ov.Populations.fit(MIRRORED, [1, 2], 0, rnn, INPUTS, draws=1)
        scales = np.sqrt(np.mean(MIRRORED.vectors**2, axis=0))
        for count, net in fits.items():
            parts = zip(net.weights / len(images), net.means / scales, net.covariances / np.outer(scales, scales), strict=True)
            density = [
                np.log(weight) + multivariate_normal(image * mean, covariance).logpdf(MIRRORED.vectors / scales)
                for weight, mean, covariance in parts
                for image in images
            ]
            expected = (15 * count - 1) * np.log(NEURONS) - 2 * logsumexp(density, axis=0).sum()
            gain = (float(report["bic"].sel(count=count)) - expected) / (2 * NEURONS)
            assert -1e-5 < gain < 1e-3  # the fit adds 1e-6 to variances, and so is not quite at the top

    def test_the_criterion_finds_the_number(self):
        report = ov.Populations.fit(MIRRORED, [1, 2, 3], 0, TANH, INPUTS, draws=1).report
        assert int(report["bic"].idxmin()) == 2
        assert float(report["output_error"].sel(count=2)) < 5 / np.sqrt(NEURONS)

    def test_populations_without_enough_neurons(self):
        far = np.concatenate([STRAIGHT.vectors[:400], [[40.0, 0, 0, 0], [41.0, 1, 0, 0], [40.0, 0, 1, 1]]])
        network = ov.Network(**STRAIGHT.layout.vectors(far))
        with pytest.raises(ValueError, match=r"`count` must leave more than 4 neurons.*have \[[123]\.0, "):
            ov.Populations.fit(network, 3, 0, TANH)


def test_neurons_are_turned_to_the_populations_that_describe_them():
    aligned = TWO.align(MIRRORED)
    same = np.all(aligned.vectors == STRAIGHT.vectors, axis=1)
    assert same.mean() > 0.99  # the populations are about six standard deviations away from their mirror images
    np.testing.assert_allclose(np.abs(aligned.vectors), np.abs(STRAIGHT.vectors))
    np.testing.assert_allclose(TANH.output(aligned, INPUTS), TANH.output(MIRRORED, INPUTS), atol=1e-13)
    found = ov.Populations.fit(MIRRORED, 2, 0, TANH)
    first = np.bincount(found.assign(found.align(MIRRORED)), minlength=2)[np.argmin(found.weights)]
    assert first == pytest.approx(0.4 * NEURONS, abs=5 * np.sqrt(0.24 * NEURONS))


def test_a_canonical_gauge_of_overlaps_is_not_one_of_populations():
    with pytest.raises(ValueError, match="must be an Overlaps, a Network or a MeanField, but Populations came"):
        ov.studies.canonical(TWO)


def test_the_metric_of_overlaps_is_not_that_of_populations():
    with pytest.raises(ValueError, match="must have a loss that is a function of overlaps, but Populations came"):
        ov.metric(TWO, TANH)
    np.testing.assert_allclose(ov.metric(TWO, ov.RNN()), ov.metric(TWO.overlaps(), ov.RNN()))
