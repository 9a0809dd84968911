"""Biases of neurons and of the readout, and initial activity: against plain simulations, in all states, trained and frozen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import overlaps as ov

RANDOM = np.random.default_rng(0)
N, DT, TAU = 40, 0.2, 0.8
M, Z, U, V = RANDOM.standard_normal((4, N, 2))
B, H0, C = RANDOM.standard_normal(N), RANDOM.standard_normal(N), RANDOM.standard_normal(2)
NET = ov.Network(M, U, V, Z, B, H0, C)
DENSE = ov.DenseNetwork(U @ V.T / N, M, Z, B, H0, C)
NET_OVERLAPS = ov.Overlaps(NET.gram, *NET.layout, c=C)
NODES = ov.MeanField(M, U, V, Z, np.full(N, 1 / N), B, H0, C)
INPUTS, TARGETS = RANDOM.standard_normal((2, 3, 30, 2))
TASK = ov.tasks.Trials(INPUTS, TARGETS, dt=DT)
LINEAR, TANH = (ov.RNN(phi, tau=TAU, dt=DT) for phi in ("linear", "tanh"))
PHI = {"linear": lambda x: x, "tanh": jnp.tanh}


def simulate(W, m, z, b, h0, c, phi):
    """Outputs (trials, time, O), by Euler steps of all neurons, written from the equation."""
    h, outputs = jnp.tile(h0, (len(INPUTS), 1)), []
    for x in np.moveaxis(INPUTS, 1, 0):
        h = h + DT / TAU * (-h + phi(h) @ W.T + x @ m.T + b[None])
        outputs.append(phi(h) @ z / N + c[None])
    return jnp.stack(outputs, axis=1)


@pytest.mark.parametrize("phi", ["linear", "tanh"])
def test_all_states_respond_as_a_plain_simulation(phi):
    with jax.enable_x64(True):
        expected = np.asarray(simulate(U @ V.T / N, M, Z, B, H0, C, PHI[phi]))
    rnn = ov.RNN(phi, tau=TAU, dt=DT)
    for state in (NET, DENSE, NODES, *([NET_OVERLAPS] if phi == "linear" else [])):
        np.testing.assert_allclose(rnn.output(state, INPUTS), expected, atol=1e-13)
    activity = rnn.activity(NET, INPUTS)
    h1 = H0 + DT / TAU * (-H0 + U @ (V.T @ np.asarray(PHI[phi](H0))) / N + INPUTS[0, 0] @ M.T + B)
    np.testing.assert_allclose(activity[0, 0], h1, rtol=1e-6)  # float32 tanh of the line above
    assert activity.sizes["neuron"] == N


def test_continuous_time_starts_from_the_initial_activity():
    fine = ov.RNN("tanh", tau=TAU, dt=1e-4)
    held = np.repeat(INPUTS[:1, :5], 2000, axis=1)
    exact = ov.RNN("tanh", tau=TAU).output(NET, INPUTS[:1, :5], dt=DT)
    np.testing.assert_allclose(exact[0], fine.output(NET, held)[0, 1999::2000], atol=2e-4)


def test_one_step_of_each_kind_against_automatic_differentiation_of_the_plain_simulation():
    with jax.enable_x64(True):

        def loss(m, u, v, z, b, h0, c):
            return jnp.mean((simulate(u @ v.T / N, m, z, b, h0, c, jnp.tanh) - TARGETS) ** 2)

        slopes = jax.jit(jax.grad(loss, range(7)))(M, U, V, Z, B, H0, C)
    end = ov.final_state(ov.learn(NET, TASK, TANH, ov.GradientDescent(0.1, 1), saves=2))
    for name, before, slope in zip(("m", "u", "v", "z", "b", "h0", "c"), (M, U, V, Z, B, H0, C), slopes, strict=True):
        speed = 1 if name == "c" else N  # vectors move N times as fast, so that overlaps move at the learning rate
        np.testing.assert_allclose(getattr(end, name), before - 0.1 * speed * slope, atol=1e-12)


RULES = [
    ov.GradientDescent(2e-2, 30),
    ov.GradientDescent(1e-2, 30, optax.sgd),
    ov.GradientDescent(1e-2, 30, lambda rate: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(rate, momentum=0.8))),
    ov.GradientDescent(2e-2, 30, rates={"b": 0, "h": 0.5, "c": 2.0}),
    ov.GradientDescent(2e-2, 30, rates={"z": 0.0}),
    ov.GradientDescent(2e-2, 30, rates={"c": 0.0}),
]


@pytest.mark.parametrize("rule", RULES)
def test_overlaps_learn_as_the_network_does(rule):
    runs = [ov.learn(state, TASK, LINEAR, rule, saves=4) for state in (NET, NET_OVERLAPS, NODES)]
    for run in runs[1:]:
        for name in ("sigma", "c", "loss", "gradient_norm"):
            np.testing.assert_allclose(run[name], runs[0][name], atol=1e-12)
    assert float(runs[0].loss[-1]) < float(runs[0].loss[0])
    frozen = {name for name, rate in (rule.rates or {}).items() if rate == 0}
    end = ov.final_state(runs[0])
    for name, before in (("z", Z), ("b", B), ("c", C)):
        assert np.allclose(getattr(end, name), before, rtol=1e-14, atol=0) is (name in frozen)


@pytest.mark.slow
def test_flow_and_its_charges():
    rule = ov.GradientFlow(0.5, rtol=1e-10, atol=1e-12)
    runs = [ov.learn(state, TASK, LINEAR, rule, saves=4) for state in (NET, NET_OVERLAPS)]
    for name in ("sigma", "c", "loss"):
        np.testing.assert_allclose(runs[1][name], runs[0][name], atol=1e-8)
    for name, charge in ov.conserved(runs[1]).items():
        np.testing.assert_allclose(charge - charge.isel(time=0), 0.0, atol=1e-8, err_msg=str(name))
    K = [ov.conserved(state, LINEAR)["K"] for state in (NET, ov.final_state(runs[0]))]
    np.testing.assert_allclose(K[1], K[0], atol=1e-8)


def test_frozen_entries_are_hidden_from_the_rule():
    """With z frozen, a clipping by the norm sees the gradient of c alone in the columns of z."""
    clipped = ov.GradientDescent(
        1.0, 1, lambda rate: optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(rate)), rates={**dict.fromkeys("mbhuvz", 0)}
    )
    end = ov.final_state(ov.learn(NET, TASK, TANH, clipped, saves=2))
    assert np.linalg.norm(end.c - C) == pytest.approx(1e-3, rel=1e-9)


@pytest.mark.parametrize("state", [NET, DENSE])
def test_rules_for_single_neurons_move_every_parameter_alike(state):
    end = ov.final_state(ov.learn(state, TASK, TANH, ov.GradientDescent(1e-3, 1, optax.adam), saves=2))
    for name in ("m", "z", "b", "h0", "c"):
        moved = np.abs(getattr(end, name) - getattr(state, name))
        np.testing.assert_allclose(moved, 1e-3, rtol=1e-2)  # the first step of Adam has the length of the learning rate


@pytest.mark.parametrize("state", [NET, NET_OVERLAPS, NODES, DENSE])
def test_files_repeat_and_continue(state, tmp_path):
    run = ov.learn(state, TASK, LINEAR, ov.GradientDescent(1e-2, 4), saves=3)
    run.to_netcdf(tmp_path / "run.nc")
    loaded = xr.load_dataset(tmp_path / "run.nc")
    xr.testing.assert_identical(ov.rerun(loaded), run)
    start, end = ov.initial_state(loaded), ov.final_state(loaded)
    for field in dataclasses.fields(state):
        np.testing.assert_array_equal(getattr(start, field.name), getattr(state, field.name))
    assert TASK.loss(end, LINEAR) == pytest.approx(float(run.loss[-1]), abs=1e-12)
    stored = ov.learn(state, TASK, LINEAR, ov.GradientDescent(1e-2, 4), saves=3, store=tmp_path / "store")
    xr.testing.assert_identical(stored, run)
    xr.testing.assert_identical(ov.resume(tmp_path / "store"), run)


def test_a_batch_learns_as_its_networks_do():
    other = ov.Network(*(RANDOM.standard_normal(x.shape) for x in (M, U, V, Z, B, H0, C)))
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), NET, other)
    rule = ov.GradientDescent(1e-2, 5, rates={"c": 0.5, "z": 0})
    run = ov.learn(batch, TASK, TANH, rule, saves=3)
    assert run["c"].dims == ("batch", "time", "readout")
    for index, one in enumerate((NET, other)):
        single = ov.learn(one, TASK, TANH, rule, saves=3)
        for name in ("sigma", "c", "loss"):
            np.testing.assert_allclose(run[name][index], single[name], atol=1e-13)
    assert ov.final_state(run).c.shape == (2, 2)
    assert ov.final_state(run.isel(batch=1)).b.shape == (N,)


def test_layout_labels_and_blocks():
    net = NET_OVERLAPS
    assert net.labels == ["m1", "m2", "b", "h", "u1", "u2", "v1", "v2", "z1", "z2"]
    np.testing.assert_allclose(net["zb"][:, 0], Z.T @ B / N, atol=1e-14)
    np.testing.assert_allclose(net["bh"], [[B @ H0 / N]], atol=1e-14)
    assert net["bu1"] == pytest.approx(B @ U[:, 0] / N)
    assert {"zb", "vb", "bb", "hu"} <= {pair.label for pair in ov.Overlaps.random(0, bias=True, initial=True).layout.pairs}
    assert len(net.layout.pairs) == 55
    np.testing.assert_allclose(net.layout.matrix(net.layout.listed(net.gram)), net.gram)
    with pytest.raises(KeyError, match="'zb' came"):
        ov.Overlaps.random(0)["zb"]
    seen = net.visible(LINEAR)
    assert {"z1b", "v1h"} <= set(seen)
    assert {"bb", "m1b", "bu1"} <= set(net.invisible(LINEAR))
    assert {"bb", "m1b", "bu1"} <= set(net.visible(TANH))
    assert repr(NET) == "Network(n=40, inputs=2, rank=2, outputs=2, bias=True, initial=True, float64)"


def test_samples_have_the_overlaps_and_the_biases():
    network = NET_OVERLAPS.sample(30, 0)
    np.testing.assert_allclose(network.gram, NET.gram, atol=1e-12)
    np.testing.assert_array_equal(network.c, C)
    nodes = NET_OVERLAPS.mean_field(2 * 10 * 8)
    np.testing.assert_allclose(nodes.gram, NET.gram, atol=1e-12)
    assert nodes.b.shape == (nodes.n,)


def test_a_reduced_network_keeps_them():
    dense = ov.DenseNetwork(0.3 * np.eye(N) + U @ V.T / N, M, Z, B, H0, C)
    small, rule = dense.reduced(), ov.GradientDescent(1e-2, 10)
    assert small.n <= 2 + 2 + 2 + 2 * 2
    runs = [ov.learn(state, TASK, LINEAR, rule, saves=3) for state in (dense, small)]
    np.testing.assert_allclose(runs[1].loss, runs[0].loss, atol=1e-12)
    lifted, end = dense.lifted(ov.final_state(runs[1])), ov.final_state(runs[0])
    for name in ("W", "m", "z", "b", "h0", "c"):
        np.testing.assert_allclose(getattr(lifted, name), getattr(end, name), atol=1e-12)


def test_fixed_points_feel_the_bias_and_not_the_initial_activity():
    found = TANH.fixed_points(NET, 0.3)
    for k in found.position.values:
        h = M @ np.full(2, 0.3) + B + U @ k
        np.testing.assert_allclose(V.T @ np.tanh(h) / N, k, atol=1e-10)
    np.testing.assert_allclose(found.output[0], Z.T @ np.tanh(M @ np.full(2, 0.3) + B + U @ found.position.values[0]) / N + C)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"`b` must have shape \(40,\), one number per neuron, but its shape is \(39,\)"):
        ov.Network(M, U, V, Z, b=B[1:])
    with pytest.raises(ValueError, match=r"`c` must have shape \(2,\), one number per output, but its shape is \(3,\)"):
        ov.Network(M, U, V, Z, c=np.ones(3))
    with pytest.raises(ValueError, match="`h0` must be finite"):
        ov.DenseNetwork(U @ V.T, M, Z, h0=np.full(N, np.nan))
    with pytest.raises(ValueError, match="`rates` must name letters or labels out of m, u, v, z, but 'c' came"):
        ov.learn(
            ov.Overlaps.random(0), ov.tasks.flip_flop(0, dt=0.1), ov.RNN("erf", dt=0.1), ov.GradientDescent(rates={"c": 0})
        )
    with pytest.raises(ValueError, match="`state` must be a network without biases and without initial activity here"):
        ov.learn(ov.Overlaps.random(0, bias=True), ov.tasks.exponential_filter(), LINEAR, ov.GradientDescent())
    with pytest.raises(ValueError, match="this one has c"):
        ov.studies.poles(ov.Overlaps(np.eye(4), c=0.5), LINEAR)
