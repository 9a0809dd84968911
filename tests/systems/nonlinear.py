"""Nonlinear activity on trials in plain NumPy, closed on overlaps and in full: see the README of this folder."""

import numpy as np


def closure(gram, sizes, gain, inputs, dt, tau):
    """Outputs (trials, time, O) of the Gaussian closure."""
    count, rank, outputs = sizes
    m, u = slice(0, count), slice(count, count + rank)
    v, z = slice(count + rank, count + 2 * rank), slice(count + 2 * rank, count + 2 * rank + outputs)
    result = []
    for trial in inputs:
        filtered, latents, record = np.zeros(count), np.zeros(rank), []
        for sample in trial:

            def variance(filtered, latents):
                return filtered @ gram[m, m] @ filtered + 2 * filtered @ gram[m, u] @ latents + latents @ gram[u, u] @ latents

            g = gain(variance(filtered, latents))
            drive = g * (gram[v, m] @ filtered + gram[v, u] @ latents)
            filtered, latents = filtered + dt / tau * (sample - filtered), latents + dt / tau * (drive - latents)
            g = gain(variance(filtered, latents))
            record.append(g * (gram[z, m] @ filtered + gram[z, u] @ latents))
        result.append(record)
    return np.array(result)


def squared_error(outputs, targets, mask):
    """The masked mean of the squared error."""
    return np.sum(mask * (outputs - targets) ** 2) / np.sum(mask * np.ones_like(targets))


def closure_gradient(gram, sizes, gain, inputs, targets, mask, dt, tau):
    """dL/d sigma for every distinct overlap, by row and column. (An overlap of different vectors is in two entries of G.)"""

    def loss(gram):
        return squared_error(closure(gram, sizes, gain, inputs, dt, tau), targets, mask)

    gradient = {}
    for row in range(len(gram)):
        for column in range(row, len(gram)):
            direction = np.zeros_like(gram)
            direction[row, column] = direction[column, row] = 1.0
            wide, narrow = ((loss(gram + h * direction) - loss(gram - h * direction)) / (2 * h) for h in (2e-3, 1e-3))
            gradient[row, column] = (4 * narrow - wide) / 3
    return gradient


def network(vectors, phi, inputs, dt, tau):
    """Activity (trials, time, N) and outputs (trials, time, O) of all N units."""
    m, u, v, z = vectors
    W = u @ v.T / len(m)
    activity, outputs = [], []
    for trial in inputs:
        h, record = np.zeros(len(m)), []
        for sample in trial:
            h = h + dt / tau * (-h + W @ phi(h) + m @ sample)
            record.append(h)
        activity.append(record)
        outputs.append([phi(h) @ z / len(m) for h in record])
    return np.array(activity), np.array(outputs)


def network_gradients(vectors, phi, slope, inputs, targets, mask, dt, tau):
    """The loss and its gradients with respect to m, u, v, z, by backpropagation through time."""
    m, u, v, z = vectors
    n = len(m)
    W, step = u @ v.T / n, dt / tau
    activity, outputs = network(vectors, phi, inputs, dt, tau)
    loss = squared_error(outputs, targets, mask)
    weights = mask * np.ones_like(targets)
    errors = 2 * weights * (outputs - targets) / np.sum(weights)
    gradient_m, gradient_W, gradient_z = np.zeros_like(m), np.zeros((n, n)), np.zeros_like(z)
    for trial, states, error in zip(inputs, activity, errors, strict=True):
        adjoint = np.zeros(n)
        for k in reversed(range(len(trial))):
            rates = phi(states[k])
            gradient_z += np.outer(rates, error[k]) / n
            adjoint = adjoint + slope(states[k]) * (z @ error[k]) / n
            before = states[k - 1] if k else np.zeros(n)
            gradient_W += step * np.outer(adjoint, phi(before))
            gradient_m += step * np.outer(adjoint, trial[k])
            adjoint = (1 - step) * adjoint + step * slope(before) * (W.T @ adjoint)
    return loss, (gradient_m, gradient_W @ v / n, gradient_W.T @ u / n, gradient_z)


def train_nodes(theta, weights, sizes, phi, slope, inputs, targets, dt, learning_rate, steps):
    """Overlaps of weighted nodes after gradient descent of the mean field, each node at the rate 1 / weight; tau is 1.

    Trials side by side, W kept as u v^T, the mean square of the error as the loss.
    """
    count, rank, _ = sizes
    theta = theta.copy()
    for _ in range(steps):
        m, u, v, z = np.split(theta, np.cumsum([count, rank, rank]), axis=1)
        h, record = np.zeros((len(inputs), len(theta))), []
        for k in range(inputs.shape[1]):
            drive = (phi(h) * weights) @ v
            before, h = h, h + dt * (-h + drive @ u.T + inputs[:, k] @ m.T)
            record.append((before, drive, h))
        errors = [(phi(h) * weights) @ z - targets[:, k] for k, (_, _, h) in enumerate(record)]
        gradient = [np.zeros_like(block) for block in (m, u, v, z)]
        adjoint = np.zeros_like(h)
        for k in reversed(range(len(record))):
            before, drive, after = record[k]
            error = 2 * errors[k] / targets.size
            gradient[3] += weights[:, None] * (phi(after).T @ error)
            adjoint = adjoint + weights * slope(after) * (error @ z.T)
            gradient[0] += dt * adjoint.T @ inputs[:, k]
            gradient[1] += dt * adjoint.T @ drive
            back = dt * adjoint @ u
            gradient[2] += weights[:, None] * (phi(before).T @ back)
            adjoint = (1 - dt) * adjoint + weights * slope(before) * (back @ v.T)
        theta = theta - learning_rate * np.concatenate(gradient, axis=1) / weights[:, None]
    return theta.T @ (weights[:, None] * theta)
