"""What the order of a `BulkOverlaps` leaves out (docs/bulk_truncation.md), against plain NumPy and closed forms."""

import itertools

import numpy as np
import pytest
import scipy.special

import overlaps as ov
from overlaps.bulk import learn_to_accuracy, truncation

RATE, HORIZON, DT = 0.2, 5.0, 0.1
TIMES = DT * np.arange(round(HORIZON / DT))
TARGET = np.exp(-RATE * TIMES)
TASK, RNN = ov.tasks.exponential_filter(RATE, horizon=HORIZON), ov.RNN(dt=DT)
RULE = ov.GradientDescent(1e-2, 200)


def plain_bulk(order, radius, correlation):
    """J on words of the letters 1 and 2, and the place of each word, written down from the definition of the letters."""
    letters = "1" if abs(correlation) == 1 else "12"
    words = ["".join(word) for length in range(order + 1) for word in itertools.product(letters, repeat=length)]
    place = {word: index for index, word in enumerate(words)}
    J = np.zeros((len(words), len(words)))
    for word in words:
        if "1" + word in place:
            J[place["1" + word], place[word]] += radius
        if word[:1] == "1":
            J[place[word[1:]], place[word]] += radius * correlation
        if word[:1] == "2":
            J[place[word[1:]], place[word]] += radius * np.sqrt(1 - correlation**2)
    return J, place


def plain_loss_and_slopes(J, vectors):
    """The loss of a network under Euler steps, and its gradient in the columns of `vectors` = [m u v z] / sqrt(N), by hand."""
    m, u, v, z = vectors.T
    step = (1 - DT) * np.eye(len(J)) + DT * (J + np.outer(u, v))
    forward, backward = [m], [z]
    for _ in TIMES[1:]:
        forward.append(step @ forward[-1])
        backward.append(step.T @ backward[-1])
    forward, backward = np.array(forward), np.array(backward)
    error = forward @ z - TARGET
    slope_m, slope_z = 2 * DT * error @ backward, 2 * DT * error @ forward
    weights = np.zeros((len(m), len(m)))  # the gradient in the entries of W
    for k in range(len(TIMES)):
        weights += 2 * DT * error[k] * DT * backward[:k][::-1].T @ forward[:k]
    return DT * np.sum(error**2), np.stack([slope_m, weights @ v, weights.T @ u, slope_z], axis=1)


def moved(state, seed, size=0.3):
    """A state whose vectors are any combinations of words, as they are after learning."""
    noise = np.random.default_rng(seed).standard_normal(state.factor.shape)
    return state.with_factor(state.factor + size * noise / np.sqrt(len(noise)))


def with_longer_words(state, order, radius, correlation):
    """J and the vectors of a state in the space of words of up to `order` letters, in plain NumPy."""
    J, place = plain_bulk(order, radius, correlation)
    short = plain_bulk(state.order, radius, correlation)[1]
    vectors = np.zeros((len(place), 4, 4))
    for word, index in short.items():
        vectors[place[word]] = state.factor.reshape(len(short), 4, 4)[index]
    return np.kron(J, np.eye(4)), vectors.reshape(-1, 4)


@pytest.fixture(scope="module")
def net():
    return ov.Overlaps.random(0)


@pytest.mark.parametrize(("correlation", "longest"), [(0.5, 6), (-0.5, 6), pytest.param(1.0, 20, marks=pytest.mark.slow)])
def test_the_whole_loss_is_that_of_words_of_every_length(net, correlation, longest):
    for seed in range(3):
        state = moved(net.with_bulk(0.2, 1, correlation), seed)
        truth = plain_loss_and_slopes(*with_longer_words(state, longest, 0.2, correlation))[0]
        found = truncation(state, TASK, RNN)
        # The reference misses paths of 2 (longest - 1) + 2 steps outside of the words: (g^2 eta)^longest.
        assert abs(found.whole_loss - truth) < 10 * (0.04 * abs(correlation)) ** longest + 1e-12
        assert abs(found.loss - TASK.loss(state, RNN)) < 1e-13
        assert abs(found.loss - found.whole_loss) > 1e-6


@pytest.mark.parametrize("radius", [0.3, pytest.param(0.9, marks=pytest.mark.slow)])
def test_independent_entries_leave_out_nothing_of_the_loss(net, radius):
    for state in (net.with_bulk(radius, 1), *(moved(net.with_bulk(radius, 1), seed, 1.0) for seed in range(5))):
        found = truncation(state, TASK, RNN)
        truth = plain_loss_and_slopes(*with_longer_words(state, 4, radius, 0.0))[0]
        np.testing.assert_allclose([found.loss, found.whole_loss], truth, rtol=1e-12)


@pytest.mark.parametrize("correlation", [0.0, 0.5, -0.7])
def test_the_share_of_the_gradient_is_that_of_words_of_every_length(net, correlation):
    state = moved(net.with_bulk(0.2, 1, correlation), 1)
    slopes = plain_loss_and_slopes(*with_longer_words(state, 5, 0.2, correlation))[1]
    truth = np.sum(slopes[state.n :] ** 2) / np.sum(slopes**2)  # the words of up to one letter come first
    # The reference misses words of 6 letters and more, at least four letters longer than the shortest ones outside.
    assert truncation(state, TASK, RNN).left_out == pytest.approx(truth, rel=10 * 0.2**8)


@pytest.mark.parametrize(("order", "radius"), [(0, 0.3), (1, 0.3), pytest.param(1, 0.9, marks=pytest.mark.slow)])
def test_an_untrained_network_has_a_share_in_closed_form(order, radius):
    # The activity of independent vectors on a word 1..1 of a letters is (k over a) (dt g)^a (1 - dt)^(k - a) after k steps.
    steps, letters = np.arange(len(TIMES))[:, None], np.arange(40)
    activity = scipy.special.binom(steps, letters) * (DT * radius) ** letters * (1 - DT) ** np.maximum(steps - letters, 0)
    shares = (TARGET @ activity) ** 2
    found = truncation(ov.Overlaps(np.eye(4)).with_bulk(radius, order), TASK, RNN)
    assert found.left_out == pytest.approx(shares[order + 1 :].sum() / shares.sum(), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_the_share_of_an_untrained_network_falls_by_one_ratio(correlation):
    radius, task, state = 0.4, ov.tasks.exponential_filter(RATE, horizon=None), ov.Overlaps(np.eye(4))
    rate = 1 + RATE
    ratio = 2 * radius / (rate + np.sqrt(rate**2 - 4 * radius**2 * correlation))
    found = truncation(state.with_bulk(radius, 1, correlation), task, ov.RNN())
    assert found.left_out == pytest.approx(ratio**4, rel=1e-9)


@pytest.mark.slow
def test_trials_have_the_truncation_of_their_filter(net):
    state = moved(net.with_bulk(0.2, 1, 0.5), 4)
    impulse = np.zeros((1, len(TIMES), 1))
    impulse[0, 0] = 1 / DT
    found, filtered = (
        truncation(state, ov.tasks.Trials(impulse, TARGET[None, :, None], dt=DT), RNN),
        truncation(state, TASK, RNN),
    )
    np.testing.assert_allclose(found, [filtered.loss / HORIZON, filtered.whole_loss / HORIZON, filtered.left_out], rtol=1e-10)


def test_a_given_bulk_against_plain_numpy(net):
    network = net.sample(120, 1, bulk=0.4)
    for state in (network.krylov(1), moved(network.krylov(1), 2)):
        vectors = state.basis @ state.factor
        loss, slopes = plain_loss_and_slopes(network.bulk, vectors)
        outside = slopes - state.basis @ (state.basis.T @ slopes)
        found = truncation(state, TASK, RNN, network.bulk)
        assert found.whole_loss == pytest.approx(loss, rel=1e-12)
        assert found.left_out == pytest.approx(np.sum(outside**2) / np.sum(slopes**2), rel=1e-10)


def test_the_loss_of_a_given_bulk_has_the_exponent_of_the_theory(net):
    errors = []
    for radius in (0.02, 0.04):
        network = net.sample(120, 1, bulk=radius)
        found = truncation(network.krylov(1), TASK, RNN, network.bulk)
        errors.append(found.loss - found.whole_loss)
    assert np.log2(errors[1] / errors[0]) == pytest.approx(4, abs=0.2)


@pytest.mark.slow
def test_large_networks_leave_out_what_the_limit_does(net):
    n, limit = 1000, truncation(net.with_bulk(0.4, 1), TASK, RNN)
    network = net.sample(n, 3, bulk=0.4)
    found = truncation(network.krylov(1), TASK, RNN, network.bulk)
    np.testing.assert_allclose(found, limit, rtol=3 / np.sqrt(n))


@pytest.mark.slow
def test_large_networks_with_trained_vectors_respond_as_the_state_of_order_one(net):
    """At g = 0.9, in the middle of learning. The vectors of the networks are those of the state: x + J y / g + J^T w / g."""
    g = 0.9
    state = ov.final_state(ov.learn(net.with_bulk(g, 1), TASK, RNN, ov.GradientDescent(1e-2, 40), saves=2))
    assert truncation(state, TASK, RNN).left_out > 0.5  # the order leaves out much of the gradient

    def response(J, vectors):
        m, u, v, z = vectors.T
        activity, found = m, []
        for _ in TIMES:
            found.append(z @ activity)
            activity = activity + DT * (J @ activity + u * (v @ activity) - activity)
        return np.array(found)

    limit, blocks, off = response(state.dense_bulk, state.factor), state.factor.reshape(3, 4, 4), []
    for n, draws in ((250, 100), (1000, 50)):
        random, squares = np.random.default_rng(n), []
        for _ in range(draws):
            J = g / np.sqrt(n) * random.standard_normal((n, n))
            Q = np.linalg.qr(random.standard_normal((n, 4)))[0]
            vectors = Q @ blocks[0] + J @ Q @ blocks[1] / g + J.T @ Q @ blocks[2] / g
            squares.append(np.mean((response(J, vectors) - limit) ** 2))
        off.append(np.sqrt(np.median(squares)))  # few networks with an eigenvalue of J close to 1 would dominate a mean
    assert np.log(off[0] / off[1]) / np.log(4) == pytest.approx(0.5, abs=0.15)


def test_no_bulk_leaves_out_nothing(net):
    assert truncation(net.with_bulk(0.0, 0), TASK, RNN)[2] == 0.0


def test_truncation_refuses(net):
    state, network = net.with_bulk(0.3, 1), net.sample(40, 1, bulk=0.3)
    reduced = network.krylov(1)
    for arguments, message in [
        ((net, TASK, RNN), "`state` must be a single BulkOverlaps"),
        ((net.with_bulk([0.1, 0.2], 1), TASK, RNN), "`state` must be a single BulkOverlaps"),
        ((state, ov.tasks.label_noise(TASK, 0.1), RNN), "`task` must be a single task that draws nothing"),
        ((state, TASK, ov.RNN("tanh", dt=DT)), "`rnn` must have a linear phi"),
        ((state, TASK, RNN, network.bulk), "`bulk` must be None for a state of infinitely many neurons"),
        ((reduced, TASK, RNN), "`bulk` must be the matrix J of the network that was reduced, but None came"),
        ((reduced, TASK, RNN, np.eye(3)), r"its shape is \(3, 3\)"),
        ((reduced, TASK, RNN, 2 * network.bulk), "it has other entries"),
        ((net.with_bulk(1.0, 1), ov.tasks.exponential_filter(horizon=None), RNN), "stable network for a task of infinite"),
        (
            (net.with_bulk(4.0, 4), ov.tasks.exponential_filter(horizon=20.0), RNN),
            "must have an order above 4, but too much of what it leaves out is in words",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            truncation(*arguments)


def error_of(dataset, truth):
    return max(float(np.abs(dataset[name] - truth[name]).max()) for name in ("loss", "sigma", "sigma_bulk"))


@pytest.mark.slow
@pytest.mark.parametrize(("radius", "correlation"), [(0.1, 0.0), (0.3, 0.0), (0.3, -0.5)])
def test_runs_are_as_accurate_as_they_say(net, radius, correlation):
    settings = {"rule": RULE, "saves": 3}
    found = learn_to_accuracy(net, TASK, RNN, radius=radius, correlation=correlation, accuracy=1e-2, **settings)
    truth = ov.learn(net.with_bulk(radius, found.order + 2, correlation), TASK, RNN, **settings)
    error = error_of(found, truth)
    assert error <= found.accuracy == 1e-2
    # The measured ratio changes slowly with the order, and the estimate takes it to be constant.
    assert 1 / 3 < found.truncation_error / error < 3
    before = ov.learn(net.with_bulk(radius, found.order - 1, correlation), TASK, RNN, **settings)
    assert found["order_change"].dims == ("time",)
    assert float(found["order_change"].max()) == error_of(found, before)


@pytest.mark.slow
def test_runs_of_a_network_are_those_of_all_its_neurons(net):
    network = net.sample(200, 4, bulk=0.1)
    found = learn_to_accuracy(network, TASK, RNN, RULE, saves=3)
    assert error_of(found, ov.learn(network, TASK, RNN, RULE, saves=3)) <= 1e-3
    np.testing.assert_array_equal(ov.rerun(found)["sigma"], found["sigma"])


@pytest.mark.slow
def test_an_order_that_is_too_small_is_named(net):
    with pytest.raises(ValueError, match=r"`largest_order` must be about 3 for an accuracy of 0\.01"):
        learn_to_accuracy(net, TASK, RNN, RULE, 0.3, accuracy=1e-2, largest_order=2, saves=3)
    assert learn_to_accuracy(net, TASK, RNN, RULE, 0.3, accuracy=1e-2, largest_order=3, saves=3).order == 3
    with pytest.raises(ValueError, match=r"must be about 1\d for .* `with_bulk` takes 8 at most: ask for less accuracy"):
        learn_to_accuracy(net, TASK, RNN, RULE, 0.3, accuracy=1e-12, largest_order=2, saves=3)


@pytest.mark.slow
def test_no_bulk_takes_no_words(net):
    found = learn_to_accuracy(net, TASK, RNN, RULE, 0.0, saves=3)
    assert found.order == 2
    assert found.truncation_error == 0.0


def test_learn_to_accuracy_refuses(net):
    network = net.sample(30, 1, bulk=0.3)
    for arguments, message in [
        ((net, TASK), "`radius` must be a number for overlaps"),
        ((net.sample(30, 1), TASK), "`net` must be a single Overlaps, or a single Network with a bulk"),
        ((network.krylov(1), TASK), "`net` must be a single Overlaps, or a single Network with a bulk"),
        ((network, TASK, 0.3), "`radius` must be None for a Network"),
        ((net, ov.tasks.exponential_filter(horizon=None), 1.0), "stable network for a task of infinite horizon"),
        ((net, TASK, 0.3, -1.0), "`accuracy` must be a number greater than 0"),
        ((net, TASK, 0.3, 1e-3, 2.0), "`correlation` must be a number from -1 to 1"),
        ((net, TASK, 0.3, 1e-3, 0.0, 1), "`largest_order` must be a whole number of at least 2"),
    ]:
        net_or_network, task, *rest = arguments
        with pytest.raises(ValueError, match=message):
            learn_to_accuracy(net_or_network, task, RNN, RULE, *rest)
    with pytest.raises(ValueError, match="`rule` must have no early stop"):
        learn_to_accuracy(net, TASK, RNN, ov.GradientDescent(1e-2, 10, stop_loss=0.1), 0.3)
