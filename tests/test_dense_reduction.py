"""Reduction of a network whose whole W learns to a small one: when it is exact, and when the library refuses it."""

import functools

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import overlaps as ov
from tests.test_dense import EULER, INTEGRATOR, RNN, SHORT, TARGET, momentum_and_decay, two_channels


def test_the_reduction_is_exact_for_descent_with_momentum_and_decay():
    net = two_channels(200, rank=2)
    small = net.reduced()
    assert small.n == 2 + 2 + 2 * 2
    rule = ov.GradientDescent(0.05, 40, functools.partial(momentum_and_decay, momentum=0.9, decay=0.02))
    full, few = (ov.learn(state, TARGET, EULER, rule, saves=5) for state in (net, small))
    for name in ("loss", "gradient_norm", "outlier_real", "outlier_imag"):
        assert np.allclose(full[name], few[name], rtol=0, atol=1e-12)
    # What is left of W outside of the subspace is 0.37, which decays on its own.
    end, lifted = ov.final_state(full), net.lifted(ov.final_state(few))
    outside = np.eye(200) - small.basis @ small.basis.T
    alone = 0.37 * ((1 - _decay_of_one_entry(40)) * outside)
    assert np.allclose(end.W + alone, lifted.W, rtol=0, atol=1e-12)
    assert np.allclose(end.m, lifted.m, rtol=0, atol=1e-12)
    assert np.allclose(end.z, lifted.z, rtol=0, atol=1e-12)


def _decay_of_one_entry(steps):
    value, speed = 1.0, 0.0
    for _ in range(steps):
        speed = 0.9 * speed + 0.02 * value
        value -= 0.05 * speed
    return value


@pytest.mark.slow
@pytest.mark.parametrize("rates", [{"m": 0, "z": 0}, {"W": 0.5, "z": 2.0}])
def test_the_reduction_is_exact_for_the_flow(rates):
    net = ov.DenseNetwork.random(1, 40)
    rule = ov.GradientFlow(1.0, rtol=1e-11, atol=1e-13, rates=rates)
    full, few = (ov.learn(state, INTEGRATOR, RNN, rule, saves=5) for state in (net, net.reduced()))
    assert ov.final_state(few).n == 2
    for name in ("loss", "outlier_real", "weight_change"):
        assert np.allclose(full[name], few[name], rtol=0, atol=1e-8)


def test_sizes_of_reductions():
    assert ov.DenseNetwork(np.zeros((9, 9)), np.ones(9), np.ones(9)).reduced().n == 1  # parallel vectors
    assert two_channels(40, rank=0).reduced().n == 4
    assert ov.DenseNetwork.random(0, 50, 0.3).krylov(2).n == 2 * 7
    assert ov.DenseNetwork.random(0, 8, 0.3).krylov(9).n == 8
    silent = ov.DenseNetwork.random(0, 20, 0.3, silent=True)
    assert abs(INTEGRATOR.loss(silent, RNN) - 2.5) < 1e-12  # that of no output at all
    with pytest.raises(ValueError, match=r"span all neurons.*krylov\(order\)"):
        ov.DenseNetwork.random(0, 12, 0.3).reduced()


@pytest.mark.slow
def test_the_error_of_krylov_spaces_has_the_exponent_of_the_theory():
    errors = np.array([[_krylov_error(sigma, order) for order in (1, 2)] for sigma in (0.05, 0.1)])
    # sigma^(2 order + 2); the next order corrects it by some sigma^2
    assert np.allclose(np.log2(errors[1] / errors[0]), [4.0, 6.0], rtol=0, atol=0.3)


def _krylov_error(sigma, order):
    net, rule = ov.DenseNetwork.random(3, 60, sigma, silent=True), ov.GradientDescent(0.02, 25)
    full, few = (ov.learn(state, INTEGRATOR, RNN, rule, saves=2)["loss"].values[-1] for state in (net, net.krylov(order)))
    return abs(full - few)


@pytest.mark.slow
def test_rules_for_single_neurons_do_not_reduce_and_say_so():
    net, adam = ov.DenseNetwork.random(0, 40), ov.GradientDescent(0.01, 20, optax.adam)
    with pytest.raises(ValueError, match=r"`optimizer` must commute with rotations.*adam looks at single neurons"):
        ov.learn(net.reduced(), SHORT, EULER, adam)
    small = ov.DenseNetwork(net.reduced().W, net.reduced().m, net.reduced().z)
    losses = [ov.learn(state, SHORT, EULER, adam, saves=2)["loss"].values[-1] for state in (net, small)]
    assert abs(losses[0] - losses[1]) > 0.05 * losses[0]

    def normalised(learning_rate):
        """An optimiser that scales each column of the gradient to unit length.

        It commutes with rotations of the rows. This is enough for overlaps, but not for a W whose rows and columns are rotated.
        """
        return optax.stateless(
            lambda gradient, _: -learning_rate * gradient / (1e-9 + jnp.linalg.norm(gradient, axis=0, keepdims=True))
        )

    ov.learn(ov.Overlaps.random(0), SHORT, EULER, ov.GradientDescent(0.01, 2, normalised), saves=2)
    with pytest.raises(ValueError, match="`optimizer` must commute"):
        ov.learn(net.reduced(), SHORT, EULER, ov.GradientDescent(0.01, 2, normalised))


def test_rules_that_see_the_size_of_all_weights_do_not_reduce():
    net = ov.DenseNetwork(0.5 * np.eye(20), *np.random.default_rng(0).standard_normal((2, 20)))
    decay, clip = optax.add_decayed_weights(0.3), optax.clip_by_global_norm(0.1)
    for first, second, exact in ((decay, clip, False), (clip, decay, True)):
        rule = ov.GradientDescent(0.02, 20, functools.partial(_chained, first=first, second=second))
        full = ov.learn(net, SHORT, EULER, rule, saves=2)["loss"].values[-1]
        if exact:
            assert ov.learn(net.reduced(), SHORT, EULER, rule, saves=2)["loss"].values[-1] == pytest.approx(full, abs=1e-12)
        else:  # the decay of what does not learn counts in the norm that is clipped
            with pytest.raises(ValueError, match=r"`optimizer` must commute.*depends on the number of neurons"):
                ov.learn(net.reduced(), SHORT, EULER, rule)


def _chained(learning_rate, first, second):
    return optax.chain(first, second, optax.sgd(learning_rate))


def test_a_reduction_survives_a_file_and_goes_on(tmp_path):
    net = ov.DenseNetwork.random(0, 30)
    phases = [ov.Phase(name, SHORT, ov.GradientDescent(0.02, 10)) for name in "AB"]
    ov.learn(net.reduced(), phases, EULER, saves=3).to_netcdf(tmp_path / "reduced.nc")
    with xr.open_dataset(tmp_path / "reduced.nc") as loaded:
        end = ov.final_state(loaded)
        assert list(np.unique(loaded["phase"])) == ["A", "B"]
    assert isinstance(end, ov.ReducedNetwork)
    dataset = ov.learn(net, phases, EULER, saves=3)
    full = ov.final_state(dataset)
    assert np.allclose(net.lifted(end).W, full.W, rtol=0, atol=1e-12)
    assert dataset["weight_change"].values[-1] == pytest.approx(np.linalg.norm(full.W - net.W), rel=1e-12)
    batch = ov.learn(net.reduced(), SHORT, EULER, ov.GradientDescent([0.02, 0.03], 4), saves=2)
    assert ov.final_state(batch).basis.shape == (2, 30, 2)
