"""What curves of learning tell about overlaps: null directions, twins, and standard errors."""

import numpy as np
import pytest
import scipy.linalg
import xarray as xr
from systems.lie_derivatives import revealed

import overlaps as ov
from overlaps import plots
from overlaps.inference import identifiability
from overlaps.inference._coordinates import families, symmetries, tangent, twins, unfelt
from overlaps.inference._spectrum import spectrum
from tests.figure_checks import faults

RNN, ERF = ov.RNN(dt=0.1), ov.RNN("erf", dt=0.1)
A, B = (ov.tasks.exponential_filter(rate, horizon=5.0) for rate in (0.2, 0.8))
TIGHT = {"rtol": 1e-12, "atol": 1e-14}


def flow(duration=2.0, **more):
    return ov.Phase("A", A, ov.GradientFlow(duration, **{**TIGHT, **more}))


def diagonal(layout, u=1.0, **more):
    """J, with other numbers for some letters."""
    counts = {"m": 1.0, "u": u, "v": -1.0, "z": -1.0} | more
    return np.diag([counts[label[0]] for label in layout.labels])


def unit(matrix, layout):
    listed = layout.listed(matrix)
    return listed / np.linalg.norm(listed)


# The null space, by exact arithmetic


@pytest.mark.parametrize(("inputs", "rank", "outputs"), [(1, 1, 1), (1, 2, 1), (2, 1, 2), (2, 2, 1)])
def test_gradient_flow_reveals_all_but_rotations_and_one_direction(inputs, rank, outputs):
    size = inputs + 2 * rank + outputs
    ranks = revealed(inputs, rank, outputs)
    assert ranks[0] == inputs * outputs + rank * (inputs + outputs)  # without learning: the function alone
    assert ranks[-1] == size * (size + 1) // 2 - rank * (rank - 1) // 2 - 1


@pytest.mark.slow
@pytest.mark.parametrize(("inputs", "rank", "outputs"), [(1, 3, 1), (1, 4, 1), (2, 2, 2), (2, 3, 2), (3, 2, 3)])
def test_larger_networks_have_no_other_null_directions(inputs, rank, outputs):
    test_gradient_flow_reveals_all_but_rotations_and_one_direction(inputs, rank, outputs)


# Directions and twins, as arrays


@pytest.mark.parametrize(("inputs", "rank", "outputs"), [(1, 1, 1), (2, 3, 1), (3, 2, 3)])
def test_no_flow_feels_j_and_nothing_else(inputs, rank, outputs):
    layout = ov.Overlaps.random(0, rank, inputs, outputs).layout
    size, seen = layout.size, RNN.visible(layout)
    (found,) = unfelt(layout, seen, [np.ones(size)])
    np.testing.assert_allclose(abs(found @ unit(diagonal(layout), layout)), 1.0, atol=1e-12)
    rates = np.random.default_rng(0).uniform(0.5, 2.0, size)
    (found,) = unfelt(layout, seen, [rates])
    np.testing.assert_allclose(abs(found @ unit(diagonal(layout) @ np.diag(rates), layout)), 1.0, atol=1e-12)
    assert len(unfelt(layout, seen, [np.ones(size), rates])) == 0  # rates that change between phases
    assert len(unfelt(layout, ERF.visible(layout), [np.ones(size)])) == 0


def test_families_are_tangent_to_symmetry_orbits_and_orthonormal():
    net = ov.Overlaps.random(1, rank=3, inputs=2)
    layout, gram = net.layout, net.gram
    found = families(symmetries(gram, layout, RNN.visible(layout), [np.ones(layout.size)]), tangent(gram, layout))
    assert [len(rows) for rows in found.values()] == [3, 1, 6, 1]
    assert list(found) == ["rotation of latents", "J", "scaling of latents", "rotation of channels"]
    rows = np.concatenate(list(found.values()))
    np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-12)
    generator = np.triu(np.random.default_rng(0).standard_normal((3, 3)), 1)
    angle, step = generator - generator.T, 1e-5
    moved = [net.factor @ scipy.linalg.block_diag(np.eye(2), *[scipy.linalg.expm(one * angle)] * 2, 1) for one in (step, -step)]
    change = layout.listed((moved[0].T @ moved[0] - moved[1].T @ moved[1]) / (2 * step))
    outside = change - change @ found["rotation of latents"].T @ found["rotation of latents"]
    np.testing.assert_allclose(outside, 0.0, atol=1e-8)


def test_standard_errors_are_those_of_the_constrained_least_squares_fit():
    rng = np.random.default_rng(0)
    net = ov.Overlaps.random(0)
    known = families(symmetries(net.gram, net.layout, RNN.visible(net.layout), [np.ones(4)]), tangent(net.gram, net.layout))
    J = known["J"]
    jacobian = rng.standard_normal((30, 10))
    jacobian -= jacobian @ J.T @ J
    found = spectrum(jacobian, known, np.eye(10), 1e-12)
    assert found.why == [""] * 9 + ["J"]
    np.testing.assert_allclose(found.covariance, np.linalg.pinv(jacobian.T @ jacobian, rcond=1e-12), atol=1e-12)
    hidden = np.abs(J[0]) > 1e-9
    assert np.all(np.isinf(found.errors) == hidden)
    np.testing.assert_allclose(found.free_errors**2, np.diag(found.covariance), rtol=1e-12)


def test_the_tangent_space_of_a_singular_matrix():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((2, 4))
    layout = ov.Overlaps.random(0).layout
    basis = tangent(factor.T @ factor, layout)
    assert basis.shape == (2 * 4 - 1, 10)  # D r - r (r - 1) / 2
    step = rng.standard_normal((2, 4))
    change = layout.listed(step.T @ factor + factor.T @ step)
    np.testing.assert_allclose(change @ basis.T @ basis, change, atol=1e-12)
    known = families(symmetries(factor.T @ factor, layout, RNN.visible(layout), [np.ones(4)]), basis)
    assert len(known["J"]) == 0  # one sign of J would leave the positive semi-definite matrices


def test_twins_are_overlap_matrices_of_relabelled_vectors():
    net = ov.Overlaps.random(0, rank=2)
    found = twins(net.gram, net.layout)
    assert list(found) == [
        *("sign of u1, v1", "sign of u2, v2"),
        *("transposition", "transposition, sign of u1, v1", "transposition, sign of u2, v2"),
    ]
    other = ov.Overlaps(found["transposition"], *net.layout)
    np.testing.assert_array_equal(other["u1v2"], net["v1u2"])
    np.testing.assert_array_equal(other["zu1"], net["v1m"])
    assert list(twins(np.eye(5), ov.Overlaps.random(0, inputs=2).layout)) == ["sign of u, v"]


# Experiments


def numpy_curves(listed, layout, task, learning_rate, steps, every, samples, dt=0.1):
    """Impulse responses while G <- (1 - eta S) G (1 - eta S), with S from complex-step derivatives of the loss."""
    targets = np.exp(-0.2 * dt * np.arange(50))

    def response(gram):
        k, signal, system = np.array([1.0, 0.0], gram.dtype), [], np.array([[-1, 0], [gram[2, 0], gram[2, 1] - 1]])
        for _ in range(50):
            signal.append(gram[3, :2] @ k)
            k = k + dt * system @ k
        return np.array(signal)

    gram, curves = layout.matrix(listed).astype(float), []
    for step in range(steps + 1):
        if step % every == 0:
            curves.append(response(gram)[samples])
        slope = np.zeros((4, 4))
        for row, column in ((3, 0), (3, 1), (2, 0), (2, 1)):
            shifted = gram.astype(complex)
            shifted[row, column] += 1e-30j
            slope[row, column] = slope[column, row] = np.sum((response(shifted) - targets) ** 2).imag / 1e-30 * dt
        step_matrix = np.eye(4) - learning_rate * slope
        gram = step_matrix @ gram @ step_matrix
    return np.array(curves).ravel()


@pytest.fixture(scope="module")
def short():
    net = ov.Overlaps.random(0).replace(uu=2.0, mu=0.8)
    phase = ov.Phase("A", A, ov.GradientDescent(0.05, 12))
    return net, phase, identifiability(net, phase, RNN, noise=1e-3, saves=4, times=0.1 * np.arange(0, 50, 5))


@pytest.mark.slow
def test_descent_shows_what_a_simulation_with_finite_differences_shows(short):
    net, _, dataset = short
    layout = net.layout
    start = layout.listed(net.gram)
    columns = []
    for index in range(10):
        step = np.zeros(10)
        step[index] = 1e-4
        ends = [numpy_curves(start + factor * step, layout, A, 0.05, 12, 4, np.arange(0, 50, 5)) for factor in (2, 1, -1, -2)]
        columns.append((-ends[0] + 8 * ends[1] - 8 * ends[2] + ends[3]) / 12e-4)
    jacobian = np.array(columns).T / 1e-3
    sizes = np.linalg.svd(jacobian, compute_uv=False)
    np.testing.assert_allclose(dataset["singular_value"], sizes, atol=1e-9 * sizes[0])
    assert not dataset["null"].any()  # finite steps feel J
    strong = dataset["component"].values[:8]
    np.testing.assert_allclose(np.linalg.norm(strong @ jacobian.T, axis=1), sizes[:8], atol=1e-9 * sizes[0])
    assert np.all(dataset["seen"])
    np.testing.assert_allclose(dataset["standard_error"], dataset["free_error"])
    assert dataset["twin"].values.tolist() == ["sign of u, v", "transposition", "transposition, sign of u, v"]
    assert np.all(dataset["twin_difference"] < 1e-12)


@pytest.mark.slow
def test_the_picture_and_the_description(short, tmp_path):
    dataset = short[2]
    dataset.to_netcdf(tmp_path / "table.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "table.nc"), dataset)
    xr.testing.assert_identical(ov.rerun(dataset), dataset)
    figure = plots.plot_identifiability(dataset)
    assert faults(figure) == []
    left, right = figure.axes
    np.testing.assert_array_equal(left.lines[0].get_ydata(), dataset["singular_value"])
    assert [label.get_text() for label in right.get_yticklabels()] == dataset["overlap"].values.tolist()
    with pytest.raises(ValueError, match=r"`dataset` must be a result of inference\.identifiability"):
        plots.plot_identifiability(xr.Dataset())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("saves", "noise"), [(np.array([0.0, 0.3, 0.6]), ov.inference.Counts([50.0, 40.0, 30.0])), (3, ov.inference.Gaussian(0.1))]
)
def test_tables_of_each_kind_of_noise_run_again(saves, noise):
    phase = ov.Phase("A", A, ov.GradientDescent(0.05, 12))
    dataset = identifiability(ov.Overlaps.random(0), phase, RNN, "loss", noise, saves)
    xr.testing.assert_identical(ov.rerun(dataset), dataset)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: identifiability(ov.Overlaps.random(0).sample(9, 0), flow(), RNN), "`state` must be a single Overlaps"),
        (lambda: identifiability(ov.Overlaps(np.tile(np.eye(4), (2, 1, 1))), flow(), RNN), "a batch of 2 came"),
        (lambda: identifiability(ov.Overlaps(np.eye(4), c=[1.0]), flow(), RNN), "it has one, c"),
        (lambda: identifiability(ov.Overlaps.random(0), A, RNN), "`protocol` must be a Phase"),
        (lambda: identifiability(ov.Overlaps.random(0), flow(), RNN, "activity"), "`observe` must be one of"),
        (lambda: identifiability(ov.Overlaps.random(0), flow(), RNN, noise=-1.0), "`noise` must be above 0"),
    ],
)
def test_bad_input_gets_one_clear_error(act, message):
    with pytest.raises(ValueError, match=message):
        act()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 3])
def test_outputs_under_flow_have_the_null_directions_of_the_theory_and_no_others(rank):
    # Of a random network of few neurons: in large ones directions are weaker, down to the tolerance of the solver at rank 3.
    dataset = identifiability(ov.Overlaps.random(0, rank, n=20), flow(), RNN, saves=11)
    counts = dict(zip(dataset["explanation"].values.tolist(), dataset["null_directions"].values.tolist(), strict=True))
    assert counts.pop("rotation of latents") == rank * (rank - 1) // 2
    assert counts.pop("J") == 1
    assert not any(counts.values())
    null = dataset["null"].values
    sizes = dataset["singular_value"].values
    assert np.all(sizes[null] < 1e-12 * sizes[0])
    assert sizes[~null][-1] > 1e-10 * sizes[0]
    selves = np.array([left == right for left, right in zip(dataset["left"].values, dataset["right"].values, strict=True)])
    assert not dataset["seen"].values[selves].any()
    if rank == 1:
        np.testing.assert_array_equal(dataset["seen"].values, ~selves)
    assert np.all(np.isfinite(dataset["free_error"]))


@pytest.mark.slow
@pytest.mark.parametrize("rates", [None, {"u": 1.5, "z": 0.5}])
def test_perfect_twins(rates):
    # Of a network with two inputs and rank 2, over two tasks. With unequal rates M the twins are G + eps J M.
    net = ov.Overlaps.random(3, rank=2, inputs=2)
    decays, B = np.diag([-0.2, -0.8]), np.eye(2)
    tasks = [ov.tasks.LinearFilter(A=decays, B=B, C=np.array([[1.0, sign]]), horizon=5.0) for sign in (1, -1)]
    rule = ov.GradientFlow(1.0, rtol=1e-13, atol=1e-15, rates=rates)
    phases = [ov.Phase(name, task, rule) for name, task in zip("AB", tasks, strict=True)]
    shift = 0.3 * diagonal(net.layout) @ np.diag(net.rates(rates or {}))
    twin = ov.Overlaps(net.gram + shift, *net.layout)
    one, other = (ov.trajectory(state, phases, RNN, saves=5, observe="impulse_response") for state in (net, twin))
    assert np.ptp(one.loss) > 0.1
    np.testing.assert_allclose(other.loss, one.loss, atol=1e-12)
    np.testing.assert_allclose(other.impulse_response, one.impulse_response, atol=1e-12)
    np.testing.assert_allclose(other.gram - one.gram, np.tile(shift, (10, 1, 1)), atol=1e-11)


@pytest.mark.slow
def test_the_transposed_network_transposes_outputs_and_keeps_the_loss_under_symmetric_targets():
    net = ov.Overlaps.random(3, rank=2, inputs=2, outputs=2)
    mixed = np.array([[1.0, 0.5], [0.2, -1.0]])
    task = ov.tasks.LinearFilter(A=np.diag([-0.2, -0.8]), B=mixed, C=mixed.T, horizon=5.0)
    other = ov.Overlaps(twins(net.gram, net.layout)["transposition"], *net.layout)
    rule = ov.GradientDescent(1e-2, 60)
    one, two = (ov.trajectory(state, task, RNN, rule, saves=4, observe="impulse_response") for state in (net, other))
    np.testing.assert_allclose(two.loss, one.loss, atol=1e-12)
    np.testing.assert_allclose(two.impulse_response, one.impulse_response.swapaxes(-1, -2), atol=1e-12)
    assert np.abs(two.impulse_response - one.impulse_response).max() > 0.01


@pytest.mark.slow
def test_finite_steps_feel_j_in_proportion_to_the_learning_rate():
    net = ov.Overlaps.random(0)
    sizes = []
    for rate in (4e-3, 1e-3):
        dataset = identifiability(net, ov.Phase("A", A, ov.GradientDescent(rate, round(2.0 / rate))), RNN, saves=11)
        sizes.append(float(dataset["singular_value"][-1]))
        assert not dataset["null"].any()
        assert float(dataset["share"].sel(symmetry="J")[-1]) > 0.999
    assert np.log(sizes[0] / sizes[1]) / np.log(4) == pytest.approx(1.0, abs=0.1)


@pytest.mark.slow
def test_freezing_input_weights_in_a_second_phase_reveals_j():
    net = ov.Overlaps.random(0)
    first, second = flow(1.0), ov.Phase("B", B, ov.GradientFlow(1.0, rates={"m": 0.0}, **TIGHT))
    both = identifiability(net, [first, second], RNN, saves=11)
    assert not both["null"].any()
    assert both["twin"].values.tolist() == ["sign of u, v"]  # the transposition would freeze z


@pytest.mark.slow
def test_without_learning_the_function_alone_is_seen():
    dataset = identifiability(ov.Overlaps.random(0, 2), flow(), RNN, saves=[np.array([0.0])])
    assert int((~dataset["null"]).sum()) == 2 * 2 + 1
    counts = dataset["null_directions"].sel(explanation=["rotation of latents", "J", "scaling of latents"])
    assert counts.values.tolist() == [1, 1, 3]  # changes of invisible overlaps make up the rest, which no symmetry explains
    assert dataset["overlap"].values[dataset["seen"].values].tolist() == ["zm"]


@pytest.mark.slow
def test_singular_overlap_matrices_move_within_their_rank():
    factor = np.random.default_rng(0).standard_normal((3, 4))
    dataset = identifiability(ov.Overlaps(factor.T @ factor / 3), flow(), RNN, saves=11)
    assert dataset.attrs["rank"] == 3
    assert dataset.sizes["direction"] == 3 * 4 - 3
    assert not dataset["null"].any()  # no twin G + eps J is positive semi-definite for both signs of eps


@pytest.mark.slow
def test_erf_networks_feel_j():
    teacher = ov.tasks.teacher(ov.Overlaps(np.eye(4)).replace(zm=0.5, vu=0.5), ERF, 0, trials=4, duration=5.0, noise=1.0)
    phase = ov.Phase("A", teacher, ov.GradientFlow(2.0, rtol=1e-10, atol=1e-12))
    dataset = identifiability(ov.Overlaps.random(0), phase, ERF, "output", saves=11)
    assert not dataset["null"].any()
    assert dataset["twin"].values.tolist() == ["sign of u, v"]
