"""Derivatives of learning: against finite differences, the equation of the flow, and each other; and the memory they take."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg

import overlaps as ov
from overlaps.connectivity._gram import square_root

SINGLE, EULER = ov.Overlaps.random(0), ov.RNN(dt=0.2)
FACTOR = np.random.default_rng(0).standard_normal((4, 4))
momentum = functools.partial(optax.sgd, momentum=0.9)


def central(function, point, step):
    """The Jacobian by central differences of fourth order."""
    columns = []
    for shift in np.diag(np.broadcast_to(step, point.shape)):
        values = [np.asarray(function(point + factor * shift)) for factor in (-2, -1, 1, 2)]
        columns.append((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * shift.max()))
    return np.stack(columns, axis=-1)


def seen(numbers, reverse):
    """Losses, responses and times after learning, as a function of overlaps, target, learning rate and duration."""
    state = ov.Overlaps(SINGLE.gram + numbers[0] * (FACTOR @ FACTOR.T / 10))
    task = ov.tasks.exponential_filter(numbers[1], numbers[2], horizon=4.0)
    descent = ov.GradientDescent(numbers[3], 30, momentum, rates={"m": 0, "u": 0.5})
    flow = ov.GradientFlow(numbers[4], rtol=1e-10, atol=1e-12)
    phases = [ov.Phase("descent", task, descent), ov.Phase("flow", task, flow)]
    course = ov.trajectory(state, phases, EULER, saves=3, observe="impulse_response", times=[0.0, 1.0], reverse=reverse)
    return jnp.concatenate(
        [course.loss, course.gradient_norm, course.impulse_response.ravel(), course.time, course.gram[-1, 0]]
    )


@pytest.mark.slow
def test_forward_and_reverse_derivatives_against_finite_differences():
    point = np.array([0.0, 0.2, 1.1, 4e-3, 0.5])
    # One program for the derivatives and the values of which differences are taken: compiling takes most of the time.
    both = jax.jit(jax.jacfwd(lambda numbers: (seen(numbers, False),) * 2, has_aux=True))
    expected = central(lambda numbers: both(numbers)[1], point, np.array([1e-3, 1e-3, 1e-3, 2e-5, 1e-3]))
    scale = np.abs(expected).max(axis=0)
    assert np.all(scale > 1e-2)  # each number matters
    forward = both(point)[0]
    np.testing.assert_allclose(forward, expected, rtol=0, atol=1e-6 * scale.max())
    for one, other, size in zip(np.asarray(forward).T, expected.T, scale, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * size)
    weights = np.random.default_rng(1).standard_normal(len(expected))
    reverse = jax.jit(jax.grad(lambda numbers: seen(numbers, True) @ weights))(point)
    np.testing.assert_allclose(reverse, weights @ forward, rtol=0, atol=1e-10 * scale.max())


@pytest.mark.slow
def test_adam_on_a_network_with_a_frozen_readout_bias():
    random = np.random.default_rng(1)
    M, U, V, Z, directions = random.standard_normal((5, 8, 1))
    task = ov.tasks.Trials(*random.standard_normal((2, 2, 6, 1)), dt=0.2)

    def losses(shift, reverse):
        network = ov.Network(M, U + shift[0] * directions, V, Z + shift[0], c=shift[1:])
        rule = ov.GradientDescent(1e-2, 15, optax.adam, rates={"c": 0})
        return ov.trajectory(network, task, ov.RNN("tanh", dt=0.2), rule, saves=3, reverse=reverse).loss

    start = np.array([0.0, 0.1])
    expected = central(jax.jit(lambda shift: losses(shift, False)), start, 1e-4)
    reverse = jax.jit(jax.jacrev(lambda shift: losses(shift, True)))(start)
    np.testing.assert_allclose(reverse, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert np.all(np.abs(expected[-1]) > 1e-3)


@pytest.mark.slow
def test_a_short_flow_has_the_derivative_of_its_equation():
    task = ov.tasks.exponential_filter(0.2, horizon=4.0)
    change = FACTOR @ FACTOR.T / 10

    def velocity(gram):
        gradient = jax.grad(lambda gram: task.loss(ov.Overlaps(gram), EULER))(gram)
        S = gradient + gradient.T
        return -(S @ gram + gram @ S)

    expected = jax.jit(lambda gram: jax.jvp(velocity, (gram,), (change,))[1])(SINGLE.gram)

    @jax.jit
    def moved(duration):
        def end(gram):
            return ov.trajectory(ov.Overlaps(gram), task, EULER, ov.GradientFlow(duration), saves=2).final.gram

        return (jax.jvp(end, (SINGLE.gram,), (change,))[1] - change) / duration

    errors = [np.abs(moved(duration) - expected).max() / np.abs(expected).max() for duration in (2e-3, 1e-3)]
    assert errors[1] < 1e-2
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.02)  # of second order in the duration, divided by it


@pytest.mark.parametrize("values", [[4.0, 4.0, 4.0], [2.0, 1.0, 1.0], [3.0, 1.0, 0.0]])
def test_the_derivative_of_the_square_root_solves_the_equation_of_sylvester(values):
    directions = np.linalg.qr(FACTOR[:3, :3])[0]
    gram = (directions * values) @ directions.T
    gram = (gram + gram.T) / 2
    change = FACTOR[:3, :3] + FACTOR[:3, :3].T
    root, found = jax.jvp(square_root, (gram,), (change,))
    np.testing.assert_allclose(root @ root, gram, atol=1e-12)
    if values[-1]:
        np.testing.assert_allclose(found, scipy.linalg.solve_sylvester(root, root, change), atol=1e-12)
        return
    # The root has no derivative along a direction without variance; in the product F^T F the infinity cancels.
    np.testing.assert_allclose(found @ root + root @ found, change, atol=1e-7)


@pytest.mark.slow
def test_second_derivatives_of_the_square_root():
    weights = FACTOR[:3, :3]
    random = np.random.default_rng(2).standard_normal((2, 3, 3))
    changes = random + random.swapaxes(1, 2)

    def value(numbers):
        return jnp.sum(weights * square_root(2 * jnp.eye(3) + jnp.tensordot(numbers, changes, 1)))

    slope = jax.jit(jax.grad(value))
    hessian = jax.jit(jax.hessian(value))(np.zeros(2))  # where all eigenvalues are equal
    np.testing.assert_allclose(hessian, central(slope, np.zeros(2), 1e-4), atol=1e-6)
    np.testing.assert_allclose(hessian, jax.jit(jax.jacrev(slope))(np.zeros(2)), atol=1e-12)
    assert np.abs(hessian).max() > 0.1


@pytest.mark.slow
def test_learning_from_a_singular_overlap_matrix_has_derivatives():
    vectors = FACTOR[:3] / 2
    gram, null = vectors.T @ vectors, np.linalg.svd(vectors)[2][-1]
    task = ov.tasks.exponential_filter(0.2, horizon=4.0)

    @jax.jit
    def loss(gram):
        return ov.trajectory(ov.Overlaps(gram), task, EULER, ov.GradientDescent(5e-3, 20), saves=2).loss[-1]

    slope = jax.jit(jax.jacfwd(loss))(gram)
    for change in (vectors.T @ np.diag([1.0, 2.0, 3.0]) @ vectors, np.outer(null, null)):  # the second one raises the rank
        values = [loss(gram + step * change) for step in (0.0, 1e-3, 2e-3, 3e-3)]
        expected = (-11 * values[0] + 18 * values[1] - 9 * values[2] + 2 * values[3]) / 6e-3
        assert np.sum(slope * change) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.slow
def test_the_memory_of_reverse_mode_grows_as_the_root_of_the_number_of_steps():
    task = ov.tasks.exponential_filter(0.2, horizon=4.0)

    def memory(steps):
        def loss(gram):
            rule = ov.GradientDescent(1e-3, steps)
            return ov.trajectory(ov.Overlaps(gram), task, EULER, rule, saves=2, reverse=True).loss[-1]

        return jax.jit(jax.grad(loss)).lower(SINGLE.gram).compile().memory_analysis().temp_size_in_bytes

    ratio = memory(25600) / memory(1600)
    assert 2.0 < ratio < 5.0  # 16 times as many steps


@pytest.mark.slow
def test_the_wrong_mode_is_named_by_errors_of_jax_that_the_docstring_explains():
    task = ov.tasks.exponential_filter(0.2, horizon=4.0)

    def loss(gram, rule, reverse):
        return ov.trajectory(ov.Overlaps(gram), task, EULER, rule, saves=2, reverse=reverse).loss[-1]

    with pytest.raises(ValueError, match=r"while_loop"):
        jax.grad(loss)(SINGLE.gram, ov.GradientDescent(5e-3, 5), False)
    with pytest.raises(TypeError, match=r"custom_vjp"):
        jax.jacfwd(loss)(SINGLE.gram, ov.GradientFlow(0.1), True)
    for words in ("while_loop", "custom_vjp"):
        assert words in ov.trajectory.__doc__
