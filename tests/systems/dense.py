"""Networks whose whole W learns, in plain NumPy and SciPy: see the README of this folder."""

import numpy as np
import scipy.linalg


def infinite_loss_and_gradients(W, m, z, A, B, C):
    """int_0^inf |z^T exp((W - 1) t) m / N - C exp(A t) B|^2 dt, and its gradients with respect to W, m, z.

    From the Gramians of network and target side by side, by Bartels and Stewart: dL/dA = 2 Y X, dL/dB = 2 Y B, dL/dC = 2 C X.
    """
    n = len(W)
    joint = scipy.linalg.block_diag(W - np.eye(n), A)
    source, readout = np.concatenate([m, B]), np.concatenate([z.T / n, -C], axis=1)
    X = scipy.linalg.solve_continuous_lyapunov(joint, -source @ source.T)
    Y = scipy.linalg.solve_continuous_lyapunov(joint.T, -readout.T @ readout)
    return np.sum(readout @ X * readout), (
        2 * (Y @ X)[:n, :n],
        2 * (Y @ source)[:n],
        2 * (readout @ X)[:, :n].T / n,
    )


def euler_loss_and_gradients(W, m, z, target, dt):
    """sum |f_k - f*_k|^2 dt for forward Euler, and its gradients by a hand-written adjoint; target of shape (samples, O, I)."""
    n = len(W)
    step = np.eye(n) + dt * (W - np.eye(n))
    activity = [m]
    for _ in range(len(target) - 1):
        activity.append(step @ activity[-1])
    errors = [z.T @ h / n - f for h, f in zip(activity, target, strict=True)]
    adjoint, gradient_W, gradient_z = np.zeros_like(m), np.zeros_like(W), np.zeros_like(z)
    for k in reversed(range(len(target))):
        if k + 1 < len(target):
            gradient_W += dt * adjoint @ activity[k].T
        adjoint = step.T @ adjoint + 2 * dt * z @ errors[k] / n
        gradient_z += 2 * dt * activity[k] @ errors[k].T / n
    return dt * sum(np.sum(e**2) for e in errors), (gradient_W, adjoint, gradient_z)


def descend(network, target, dt, learning_rate, steps, momentum=0.0, decay=0.0):
    """The network after gradient descent with heavy-ball momentum and weight decay. Vectors learn at N times the rate of W."""
    parameters = [x.copy() for x in network]
    n = len(parameters[0])
    speeds = [np.zeros_like(x) for x in parameters]
    for _ in range(steps):
        gradients = euler_loss_and_gradients(*parameters, target, dt)[1]
        scaled = [g * factor + decay * x for g, factor, x in zip(gradients, (1, n, n), parameters, strict=True)]
        speeds = [momentum * speed + g for speed, g in zip(speeds, scaled, strict=True)]
        parameters = [x - learning_rate * speed for x, speed in zip(parameters, speeds, strict=True)]
    return parameters
