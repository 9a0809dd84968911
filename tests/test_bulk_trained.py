"""What a low-rank change of W0 explains of a trained network: against plain NumPy programs and matrices of known rank."""

import equinox as eqx
import jax
import numpy as np
import pytest
import scipy
import xarray as xr

import overlaps as ov

N, DT, SAMPLES = 30, 0.1, 30
RNN = ov.RNN(dt=DT)
TASK = ov.tasks.exponential_filter(0.2, horizon=SAMPLES * DT)
START = ov.DenseNetwork.random(0, N, 0.8)
TRAINED = ov.final_state(ov.learn(START, TASK, RNN, ov.GradientDescent(0.05, 8), saves=2))


def respond(W, m=TRAINED.m, z=TRAINED.z):
    """The impulse response of a linear network: the output before each Euler step from h = m on."""
    h, outputs = m[:, 0], []
    for _ in range(SAMPLES):
        outputs.append(z[:, 0] @ h / len(W))
        h = h + DT * (W @ h - h)
    return np.array(outputs)


def loss(W, *vectors):
    return DT * np.sum((respond(W, *vectors) - np.exp(-0.2 * DT * np.arange(SAMPLES))) ** 2)


def slope(W, direction, step=1e-5):
    """The derivative of the loss along a change of W, by a central difference."""
    return (loss(W + step * direction) - loss(W - step * direction)) / (2 * step)


@pytest.fixture(scope="module")
def report():
    return ov.bulk.explained(TRAINED, START.W, TASK, RNN, ranks=(1, 2, 4))


def parts(rank):
    """W0 + D_R, D_R, and its singular values and vectors, by SciPy."""
    left, values, right = scipy.linalg.svd(TRAINED.W - START.W)
    change = left[:, :rank] @ np.diag(values[:rank]) @ right[:rank]
    return (START.W + change, change), values, left[:, :rank], right[:rank].T


def test_losses_and_outputs_are_those_of_plain_networks(report):
    exact = respond(TRAINED.W)
    assert report["trained_loss"].item() == pytest.approx(loss(TRAINED.W), rel=1e-12)
    for rank in (1, 2, 4):
        matrices, values, *_ = parts(rank)
        one = report.sel(rank=rank)
        assert one["singular_value"].item() == pytest.approx(values[rank - 1], rel=1e-10)
        assert one["left_over"].item() == pytest.approx(np.linalg.norm(values[rank:]) / np.linalg.norm(values), rel=1e-8)
        for name, W in zip(("with bulk", "without bulk"), matrices, strict=True):
            assert one["loss"].sel(part=name).item() == pytest.approx(loss(W), rel=1e-10)
            # The first sample of an output comes after the first step, when an impulse has just become m.
            error = np.linalg.norm(respond(W) - exact) / np.linalg.norm(exact)
            assert one["output_error"].sel(part=name).item() == pytest.approx(error, rel=1e-8, abs=1e-12)
    assert float(report["loss"].sel(part="without bulk", rank=1)) > 1.05 * float(report["trained_loss"])  # W0 matters


@pytest.mark.slow
def test_what_u_and_v_can_follow_is_the_projection_of_the_gradient(report):
    """Finite differences: the gradient, its part in the tangent space, and the speed of u and v at the rate that is given."""
    G = np.array([[slope(TRAINED.W, np.outer(one, other)) for other in np.eye(N)] for one in np.eye(N)])
    for rank in (1, 2, 4):
        _, values, a, b = parts(rank)
        spanned = np.array([np.outer(one, other).ravel() for one in a.T for other in np.eye(N)]
                           + [np.outer(one, other).ravel() for one in np.eye(N) for other in b.T])  # fmt: skip
        basis = scipy.linalg.orth(spanned.T)
        share = np.sum((basis.T @ G.ravel()) ** 2) / np.sum(G**2)
        assert report["tangent_share"].sel(rank=rank).item() == pytest.approx(share, rel=1e-6)
        rate = report["rate"].sel(rank=rank).item()
        u, v = (np.sqrt(N * values[:rank]) * vectors for vectors in (a, b))
        change = -rate * (G @ v @ v.T + u @ u.T @ G) / N  # of u v^T / N, because N dL/du = G v and N dL/dv = G^T u
        assert slope(TRAINED.W, change) == pytest.approx(-np.sum(G**2), rel=1e-6)


@pytest.mark.slow
def test_rates_of_one_over_twice_the_singular_value_move_w_along_as_the_gradient_does():
    """D = u v^T / N at the rates 1 / (2 s_r), u and v balanced: dD/ds = -(G B + A G) / 2, with projectors on a_r and b_r."""
    generator = np.random.default_rng(0)
    a, b = (np.linalg.qr(generator.standard_normal((N, 2)))[0] for _ in range(2))
    values, eta = np.array([0.7, 0.2]), 1e-6
    u, v = (np.sqrt(N * values) * vectors for vectors in (a, b))
    network = ov.Network(TRAINED.m, u, v, TRAINED.z, bulk=START.W)
    rates = {f"{letter}{r}": 1 / (2 * s) for letter in "uv" for r, s in zip((1, 2), values, strict=True)} | {"m": 0, "z": 0}
    moved = ov.final_state(ov.learn(network, TASK, RNN, ov.GradientDescent(eta, 1, rates=rates), saves=2))
    dense = ov.DenseNetwork(network.W, TRAINED.m, TRAINED.z)
    rule = ov.GradientDescent(eta, 1, rates={"m": 0, "z": 0})
    G = (dense.W - ov.final_state(ov.learn(dense, TASK, RNN, rule, saves=2)).W) / eta
    change = (moved.W - network.W) / eta
    np.testing.assert_allclose(change, -(G @ b @ b.T + a @ a.T @ G) / 2, rtol=0, atol=1e-4 * np.abs(G).max())
    np.testing.assert_allclose(a.T @ change @ b, -a.T @ G @ b, rtol=0, atol=1e-4 * np.abs(G).max())


def test_a_network_in_single_precision(report):
    single = ov.bulk.explained(jax.tree.map(np.float32, TRAINED), START.W, TASK, RNN, ranks=(1, 2, 4))
    np.testing.assert_allclose(single["loss"], report["loss"], rtol=1e-5)  # float32 numbers have seven digits


def test_all_ranks_and_a_change_of_low_rank():
    """Rank N is the whole network. Without W0 learning stays in the two directions of m and z, and W has no third one."""
    report = ov.bulk.explained(TRAINED, START.W, TASK, RNN, ranks=N)
    assert report["output_error"].sel(part="with bulk").item() < 1e-12
    assert report["tangent_share"].item() == pytest.approx(1.0, abs=1e-12)
    start = eqx.tree_at(lambda one: one.W, START, np.zeros((N, N)))
    trained = ov.final_state(ov.learn(start, TASK, RNN, ov.GradientDescent(0.05, 30), saves=2))
    report = ov.bulk.explained(trained, start.W, TASK, RNN, ranks=(1, 2, 3))
    assert report["left_over"].sel(rank=2).item() < 1e-12
    np.testing.assert_allclose(report["tangent_share"].sel(rank=[2, 3]), 1.0, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(*(report["loss"].sel(part=name).values for name in ("with bulk", "without bulk")))


@pytest.mark.slow
def test_trials_of_a_nonlinear_network():
    inputs, targets = np.random.default_rng(0).standard_normal((2, 3, 20, 1))
    task, rnn = ov.tasks.Trials(inputs, targets, dt=0.2), ov.RNN("tanh", dt=0.2)
    report = ov.bulk.explained(TRAINED, START.W, task, rnn, ranks=2)
    (W, _), *_ = parts(2)

    def output(W):
        h, outputs = np.zeros((3, N)), []
        for sample in np.moveaxis(inputs, 1, 0):
            h = h + 0.2 * (-h + np.tanh(h) @ W.T + sample @ TRAINED.m.T)
            outputs.append(np.tanh(h) @ TRAINED.z / N)
        return np.stack(outputs, axis=1)

    error = np.linalg.norm(output(W) - output(TRAINED.W)) / np.linalg.norm(output(TRAINED.W))
    assert report["output_error"].sel(part="with bulk").item() == pytest.approx(error, rel=1e-8)
    assert report["loss"].sel(part="with bulk").item() == pytest.approx(np.mean((output(W) - targets) ** 2), rel=1e-10)


@pytest.mark.slow
def test_learning_with_w0_as_bulk_follows_a_network_whose_whole_w_learns():
    """From the middle of learning on, at the rate that fits, and in the Krylov reduction; without W0 it does not."""
    rule, rest = ov.GradientDescent(0.05, 30, rates={"m": 0.2, "z": 0.2}), 61
    middle = ov.final_state(ov.learn(START, TASK, RNN, rule, saves=2))
    true = ov.learn(middle, TASK, RNN, ov.GradientDescent(0.05, rest - 1, rates=rule.rates), saves=rest)["loss"].values
    rate = ov.bulk.explained(middle, START.W, TASK, RNN, ranks=2)["rate"].item()
    rule = ov.GradientDescent(0.05, rest - 1, rates={"m": 0.2, "z": 0.2, "u": rate, "v": rate})
    kept, alone = (ov.interop.low_rank(middle, 2, START.W, keep_initial=keep)[0] for keep in (True, False))
    losses = [ov.learn(state, TASK, RNN, rule, saves=rest)["loss"].values for state in (kept, kept.krylov(2), alone)]
    shares = [1 - np.sum((loss - true) ** 2) / np.sum((true - true.mean()) ** 2) for loss in losses]
    assert min(shares[:2]) > 0.9
    assert shares[2] < 0.5
    first = [(loss[0] - loss[1]) / (true[0] - true[1]) for loss in losses]
    assert first[0] == pytest.approx(1.0, abs=0.02)  # as fast as W at first, but for what rank 2 leaves over


def test_a_report_survives_a_file_and_is_repeated(report, tmp_path):
    report.to_netcdf(tmp_path / "report.nc", engine="h5netcdf")
    xr.testing.assert_identical(ov.rerun(xr.load_dataset(tmp_path / "report.nc")), report)


def test_the_figure_holds_the_numbers(report):
    ax = ov.plots.plot_explained(report)
    lines = {line.get_label(): line for line in ax.get_lines()}
    for part in ("with bulk", "without bulk"):
        np.testing.assert_array_equal(lines[part].get_xydata(), np.stack([report["rank"], report["loss"].sel(part=part)], 1))
    assert lines["trained network"].get_ydata()[0] == report["trained_loss"]
    with pytest.raises(ValueError, match=r"be a result of bulk\.explained"):
        ov.plots.plot_explained(report.drop_attrs())


def test_what_is_refused():
    batch = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), TRAINED)
    two = ov.tasks.exponential_filter([0.1, 0.2])
    cases = [
        (lambda: ov.bulk.explained(TRAINED, TRAINED.W, TASK, RNN), "`initial` must differ from the W of `trained`"),
        (lambda: ov.bulk.explained(TRAINED, START.W[:-1], TASK, RNN), "`initial` must be a matrix of shape"),
        (lambda: ov.bulk.explained(TRAINED.krylov(1), START.W, TASK, RNN), "`trained` must be a single DenseNetwork"),
        (
            lambda: ov.bulk.explained(batch, START.W, TASK, RNN),
            "must be a single DenseNetwork, but a batch of 2 came",
        ),
        (lambda: ov.bulk.explained(TRAINED, START.W, two, RNN), "`task` must be a single filter task, or fixed trials"),
        (lambda: ov.bulk.explained(TRAINED, START.W, TASK, RNN, ranks=(2, 1)), "`ranks` must be increasing"),
        (lambda: ov.bulk.explained(TRAINED, START.W, TASK, RNN, ranks=N + 1), "`rank` must be at most 30"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
