"""Linear networks with W = J + u v^T / N, in plain NumPy: see the README of this folder. Nothing of the library is used.

`sizes` is (I, R, O), P = [m u v z] has the shape (N, I + 2 R + O), and a target has the shape (samples, O, I).
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np


def elliptic(n, radius, correlation, rng):
    """A Gaussian matrix with entries of variance radius^2 / n, and of the given correlation of J_ij with J_ji."""
    entries = rng.standard_normal((n, n)) / np.sqrt(n)
    symmetric, antisymmetric = (entries + entries.T) / np.sqrt(2), (entries - entries.T) / np.sqrt(2)
    return radius * (np.sqrt((1 + correlation) / 2) * symmetric + np.sqrt((1 - correlation) / 2) * antisymmetric)


def vectors(gram, n, rng):
    """P with P^T P / n = gram, and otherwise random."""
    values, axes = np.linalg.eigh(gram)
    directions = np.linalg.qr(rng.standard_normal((n, len(gram))))[0]
    return np.sqrt(n) * directions @ (axes * np.sqrt(values)) @ axes.T


def split(P, sizes):
    inputs, rank, _ = sizes
    return np.split(P, np.cumsum([inputs, rank, rank]), axis=1)


def response(J, P, sizes, samples, dt):
    """z^T h_k / N after a unit impulse, for forward Euler."""
    m, u, v, z = split(P, sizes)
    W, h, answers = J + u @ v.T / len(P), m, []
    for _ in range(samples):
        answers.append(z.T @ h / len(P))
        h = h + dt * (W @ h - h)
    return np.array(answers)


def loss_and_gradient(J, P, sizes, target, dt):
    """sum |f_k - f*_k|^2 dt, and its gradient with respect to P by the adjoint recursion."""
    m, u, v, z = split(P, sizes)
    n, samples = len(P), len(target)
    activity, latents = [m], []
    for _ in range(samples - 1):
        h = activity[-1]
        latents.append(v.T @ h / n)
        activity.append(h + dt * (J @ h + u @ latents[-1] - h))
    errors = [z.T @ h / n - f for h, f in zip(activity, target, strict=True)]
    adjoint, gradient_u, gradient_v, gradient_z = (np.zeros_like(block) for block in (m, u, v, z))
    for k in reversed(range(samples)):
        if k + 1 < samples:
            back = u.T @ adjoint
            gradient_u += dt * adjoint @ latents[k].T
            gradient_v += dt * activity[k] @ back.T / n
            adjoint = adjoint + dt * (J.T @ adjoint + v @ back / n - adjoint)
        adjoint = adjoint + 2 * dt * z @ errors[k] / n
        gradient_z += 2 * dt * activity[k] @ errors[k].T / n
    gradient = np.concatenate([adjoint, gradient_u, gradient_v, gradient_z], axis=1)
    return dt * sum(np.sum(error**2) for error in errors), gradient


def descend(J, P, sizes, target, dt, learning_rate, steps, momentum=0.0, saves=2):
    """Losses (saves,), overlap matrices (saves, D, D) and the last P of descent with heavy-ball momentum; J does not learn."""
    speed, losses, grams = np.zeros_like(P), [], []
    for step in range(steps + 1):
        loss, gradient = loss_and_gradient(J, P, sizes, target, dt)
        if step % (steps // (saves - 1)) == 0:
            losses.append(loss)
            grams.append(P.T @ P / len(P))
        if step < steps:
            speed = momentum * speed + len(P) * gradient
            P = P - learning_rate * speed
    return np.array(losses), np.array(grams), P


def visible_words(J, P, sizes, powers):
    """[z v]^T J^a [m u] / N for a < powers, of shape (powers, O + R, I + R)."""
    m, u, v, z = split(P, sizes)
    reached, words = np.concatenate([m, u], axis=1), []
    for _ in range(powers):
        words.append(np.concatenate([z, v], axis=1).T @ reached / len(P))
        reached = J @ reached
    return np.array(words)


def response_of_words(words, sizes, samples, dt):
    """The impulse response from visible words alone, through the chains of latents: see the README."""
    inputs, _, outputs = sizes
    powers, _, driving = words.shape
    chains = jnp.zeros((powers, driving, inputs)).at[0, :inputs].set(jnp.eye(inputs))
    answers = []
    for _ in range(samples):
        read = jnp.einsum("ayx,axi->yi", words, chains)
        answers.append(read[:outputs])
        head = jnp.concatenate([jnp.zeros((inputs, inputs)), read[outputs:]])
        chains = chains + dt * (jnp.concatenate([head[None], chains[:-1]]) - chains)
    return jnp.stack(answers)


def slopes_of_words(words, sizes, target, dt):
    """dL / d(word), for each visible word."""

    def loss(words):
        return dt * jnp.sum((response_of_words(words, sizes, len(target), dt) - target) ** 2)

    return np.asarray(jax.grad(loss)(jnp.asarray(words)))


def free_words(radius, correlation, length):
    """J on the words over {1, 2} of up to `length` letters: g (l_1 + eta l_1* + sqrt(1 - eta^2) l_2*)."""
    words = [word for letters in range(length + 1) for word in itertools.product((1, 2), repeat=letters)]
    J = np.zeros((len(words), len(words)))
    for row, column in itertools.product(range(len(words)), repeat=2):
        if words[row] == (1, *words[column]):
            J[row, column] = radius
        if words[column] == (1, *words[row]):
            J[row, column] = radius * correlation
        if words[column] == (2, *words[row]):
            J[row, column] = radius * np.sqrt(1 - correlation**2)
    return J
