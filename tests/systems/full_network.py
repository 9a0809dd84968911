"""N neurons with an explicit N x N weight matrix, in plain NumPy: see the README of this folder."""

import numpy as np


def loss_and_gradients(vectors, target, dt, tau):
    """Loss sum |f_k - f*_k|^2 dt and its gradients with respect to m, u, v, z; target of shape (samples, O, I)."""
    m, u, v, z = vectors
    n = len(m)
    W = u @ v.T / n
    step = np.eye(n) + dt / tau * (W - np.eye(n))
    activity = [m / tau]
    for _ in range(len(target) - 1):
        activity.append(step @ activity[-1])
    errors = [z.T @ h / n - f for h, f in zip(activity, target, strict=True)]
    loss = dt * sum(np.sum(e**2) for e in errors)

    gradient_z = sum(2 * dt * h @ e.T / n for h, e in zip(activity, errors, strict=True))
    adjoint = np.zeros_like(m)
    gradient_W = np.zeros((n, n))
    for k in reversed(range(len(target))):
        if k + 1 < len(target):
            gradient_W += dt / tau * adjoint @ activity[k].T
        adjoint = step.T @ adjoint + 2 * dt * z @ errors[k] / n
    return loss, (adjoint / tau, gradient_W @ v / n, gradient_W.T @ u / n, gradient_z)


def train(vectors, target, dt, tau, learning_rate, steps):
    """Losses and overlap matrices before each step and after the last one."""
    vectors = [x.copy() for x in vectors]
    n = len(vectors[0])
    losses, grams = [], []
    for _ in range(steps + 1):
        loss, gradients = loss_and_gradients(vectors, target, dt, tau)
        P = np.concatenate(vectors, axis=1)
        losses.append(loss)
        grams.append(P.T @ P / n)
        vectors = [x - learning_rate * n * g for x, g in zip(vectors, gradients, strict=True)]
    return np.array(losses), np.array(grams)
