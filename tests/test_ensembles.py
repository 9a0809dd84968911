"""Losses by blocks, and batches over several devices."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import overlaps as ov
from overlaps.learning import BARRIERS_STAY, compiled
from overlaps.tasks import quick_to_run


@pytest.mark.parametrize(
    ("rank", "inputs", "outputs", "dt", "horizon"),
    [(3, 2, 2, None, 0.05), (3, 2, 2, None, 20.0), (3, 2, 2, 0.05, 0.05), (3, 2, 2, 0.05, 20.0), (1, 1, 1, None, 20.0)],
)
@pytest.mark.slow
def test_the_loss_by_blocks_is_that_of_one_matrix(rank, inputs, outputs, dt, horizon):
    net, rnn = ov.Overlaps.random(1, rank=rank, inputs=inputs, outputs=outputs), ov.RNN(tau=1.3, dt=dt)
    generator = np.random.default_rng(0)
    B, C = generator.normal(1.0, 0.5, (2, inputs)), generator.normal(1.0, 0.5, (outputs, 2))
    whole = ov.tasks.linear_filter([[-0.3, -2.0], [2.0, -0.4]], B, C, horizon=horizon).objective(net, rnn)
    blocks = quick_to_run(whole, rank)
    assert type(blocks) is not type(whole)
    direction = generator.standard_normal(net.gram.shape)

    def derivatives(objective):
        def loss(gram):
            return objective(ov.Overlaps(gram, inputs, rank, outputs))

        def along(gram):
            return jax.jvp(jax.value_and_grad(loss), (gram,), (direction,))

        return jax.tree.leaves(compiled(along, BARRIERS_STAY)(jnp.asarray(net.gram)))  # as `learn` compiles it

    for one, other in zip(derivatives(blocks), derivatives(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12 * np.abs(other).max())


def test_blocks_refuse_rates_beyond_their_series():
    net, rnn = ov.Overlaps.random(1), ov.RNN()
    blocks = quick_to_run(ov.tasks.exponential_filter().objective(net, rnn), rank=1)
    assert np.isnan(blocks(ov.Overlaps(1e8 * np.eye(4)).replace(vu=1e7)))


RUNS = """
import sys
import jax
import numpy as np
import overlaps as ov
batch = jax.tree.map(lambda *leaves: np.stack(leaves), *(ov.Overlaps.random(seed) for seed in range(5)))
task, rnn = ov.tasks.exponential_filter(0.2, horizon=4.0), ov.RNN(dt=0.1)
noisy, rates = ov.tasks.label_noise(ov.tasks.exponential_filter([0.1, 0.2, 0.3, 0.4, 0.5], horizon=4.0), 0.1), [1e-2] * 5
runs = {
    "noise": ov.learn(batch, noisy, rnn, ov.GradientDescent(rates, 60), saves=5, key=jax.random.split(jax.random.key(0), 5)),
    "flow": ov.learn(batch, task, rnn, ov.GradientFlow(1.0), saves=5),
    "network": ov.learn(ov.Overlaps.random(0).sample(9, 0), task, rnn, ov.GradientDescent([1e-2, 2e-2, 5e-3], 20), saves=3),
}
np.savez(sys.argv[1], devices=jax.device_count(), **{name: run["sigma"].values for name, run in runs.items()})
"""


@pytest.mark.slow
def test_a_batch_has_the_same_digits_on_one_and_on_two_devices(tmp_path):
    results = []
    for devices in (1, 2):
        path = tmp_path / f"{devices}.npz"
        flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        subprocess.run([sys.executable, "-c", RUNS, str(path)], env=os.environ | flags, check=True)
        results.append(np.load(path))
        assert results[-1]["devices"] == devices
    one, two = results
    for name in ("noise", "flow", "network"):
        np.testing.assert_array_equal(two[name], one[name])
