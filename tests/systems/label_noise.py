"""Networks of rank 1 that learn filters under label noise, many of them side by side, in plain NumPy: see the README here."""

import numpy as np


def curves(vectors, targets, frozen, dt, learning_rate, steps, every, std=0.0, rng=None):
    """Impulse responses (networks, times, samples) during phases of `steps` steps, at each start and after `every` steps.

    - `vectors`: m, u, v, z, (4, networks, neurons); tau is 1.
    - `targets`: for each phase (samples,). `frozen`: for each phase, the numbers of the vectors that do not learn.
    - `std`: of the noise on the targets, which `rng` draws for each network, step and sample.
    """
    vectors, seen = np.array(vectors), []
    for target, fixed in zip(targets, frozen, strict=True):
        for step in range(steps + 1):
            noise = std * rng.normal(size=(vectors.shape[1], len(target))) if std else 0.0
            response, gradients = _response_and_gradients(vectors, target + noise, dt)
            if step % every == 0:
                seen.append(response)
            if step < steps:
                gradients[list(fixed)] = 0
                vectors = vectors - learning_rate * vectors.shape[2] * gradients
    return np.stack(seen, axis=1)


def _response_and_gradients(vectors, targets, dt):
    """The responses, and the gradients of dt |response - targets|^2 by backpropagation through time."""
    m, u, v, z = vectors
    n = m.shape[1]

    def dot(a, b):
        return np.sum(a * b, axis=1, keepdims=True) / n

    activity = [m]
    for _ in range(targets.shape[-1] - 1):
        h = activity[-1]
        activity.append((1 - dt) * h + dt * u * dot(v, h))
    response = np.concatenate([dot(z, h) for h in activity], axis=1)
    errors = 2 * dt * (response - targets)
    adjoint, of_u, of_v, of_z = (np.zeros_like(m) for _ in range(4))
    for k in reversed(range(len(activity))):
        h, error = activity[k], errors[:, k : k + 1]
        of_u += dt * adjoint * dot(v, h)  # zero at the last sample
        of_v += dt * h * dot(u, adjoint)
        of_z += h * error / n
        adjoint = (1 - dt) * adjoint + dt * v * dot(u, adjoint) + z * error / n
    return response, np.stack([adjoint, of_u, of_v, of_z])
