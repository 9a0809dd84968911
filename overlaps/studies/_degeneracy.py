"""Compare two networks with the same function: does noise in activity, noise in weights, or learning tell them apart?"""

import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
import xarray as xr
from jaxtyping import Float
from tqdm.auto import tqdm

from overlaps._support import AnyArray, argument_error, count, in_float64, number, random_key, said
from overlaps.connectivity import Layout, Network, Overlaps
from overlaps.dynamics import RNN
from overlaps.learning import VERSION, GradientDescent, describe, grams, learn
from overlaps.studies._answers import answers, impulses
from overlaps.studies._noise import (
    activity_noise_answers,
    activity_noise_covariance,
    running_moments,
    weight_noise_answers,
    weight_noise_covariance,
)
from overlaps.tasks import LabelNoise, LinearFilter, SampledLoss

SAME = 1e-9  # two responses count as equal up to this relative difference, which is rounding
RESAMPLES = 200  # number of bootstrap samples
MEANINGS = {
    "output": "impulse response",
    "target": "impulse response to be learned",
    "activity_power": "mean square of the activity over neurons",
    "noise_answer": "answer to noise: mean square change of the response",
    "noise_mean": "answer to noise, mean over draws",
    "noise_std": "answer to noise, standard deviation over draws",
    "noise_d_prime": "d' of the answers to noise",
    "noise_d_prime_error": "standard error of d' of the answers to noise",
    "loss": "loss",
    "learning_answer": "answer to learning: mean square change of the response",
    "learning_mean": "answer to learning, mean over draws",
    "learning_std": "answer to learning, standard deviation over draws",
    "learning_d_prime": "d' of the answers to learning",
    "learning_d_prime_error": "standard error of d' of the answers to learning",
    "learning_d_prime_early": "d' of learning, predicted for early times",
}


def degeneracy(
    first: Overlaps,
    second: Overlaps,
    task: LinearFilter,
    rnn: RNN,
    *,
    activity_noise: float = 0.1,
    weight_noise: float = 0.1,
    label_noise: float = 0.1,
    learning_rate: float = 5e-3,
    steps: int = 400,
    n: int = 100,
    draws: int = 100,
    saves: int = 41,
    key: Any = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Test whether noise in activity, noise in weights, or learning tells apart two networks that compute the same function.

    Each perturbation changes the impulse response (the output after a unit pulse of input). The *answer* to a perturbation is
    the mean square of this change. For noise, the mean is over the samples up to a time of the trial. For learning, it is over
    all samples. The d' of an answer compares the two networks: it is the mean over draws in the second network minus that in
    the first, divided by the root mean square of the two standard deviations. It is 0 where nothing has changed yet. The
    question is that of [GB26]. Equations: docs/invisible_overlaps.md, "Learning as a perturbation".

    - `first`, `second`: two `Overlaps` with the same impulse response under `rnn`.
    - `task`: a filter task of finite horizon, which the networks learn.
    - `rnn`: linear, with Euler steps (`dt`).
    - `activity_noise`: intensity of white noise that each neuron gets as an input of its own, of variance
      activity_noise^2 / dt.
    - `weight_noise`: sqrt(N) times the standard deviation of independent changes of all entries of W, fixed over a trial.
    - `label_noise`: standard deviation of noise on the targets, drawn anew at each step of gradient descent.
    - `learning_rate`, `steps`: of gradient descent.
    - `n`: number of neurons in the simulation. `draws`: number of draws of each noise. `saves`: number of saved learning times.
    - `key`: a jax.random key or an integer seed. `progress`: whether to show a bar.

    Returns a Dataset with dims `source` ("theory", "simulation"), `noise` ("activity", "weights"), `network` ("first",
    "second"), `draw`, `time` of the trial (in the unit of tau), and `learning_time` (learning rate x step).

    - Before learning: `output(network, source, input, time, readout)`, the impulse response; `target(time, readout, input)`;
      and `activity_power(network, source, input, time)`, the mean square of the activity over neurons.
    - Under noise: `noise_answer(network, noise, draw, time)`, the answers in the simulation; `noise_mean` and `noise_std`
      (network, source, noise, time), their mean and standard deviation over draws; `noise_d_prime(source, noise, time)`; and
      `noise_d_prime_error(noise, time)`, the bootstrapped standard error of d' in the simulation.
    - Of learning: `loss(network, source, learning_time)`, without label noise;
      `learning_answer(network, source, draw, learning_time)`; `learning_mean` and `learning_std` (network, source,
      learning_time); `learning_d_prime` and `learning_d_prime_error` (source, learning_time); and
      `learning_d_prime_early(learning_time)`, the prediction of the law of early learning.

    The theory of noise computes means and standard deviations without draws, and is of first order in changes of W. The theory
    of learning trains overlaps, with the same draws of label noise as the simulation.

    Raises ValueError for networks with different responses, a nonlinear phi, continuous time, an infinite horizon, and values
    out of range. Raises `DivergenceError` if learning diverges.
    """
    objective = _checked((first, second), task, rnn)
    stds = {"activity_noise": activity_noise, "weight_noise": weight_noise, "label_noise": label_noise}
    stds = {name: number(name, std, above=0.0) for name, std in stds.items()}
    rule = GradientDescent(number("learning_rate", learning_rate, above=0.0), steps)
    draws, key = count("draws", draws, least=2), random_key("key", key)
    shape_key, *draw_keys = jax.random.split(key, 3)
    pairs = [(net, alike(net, n, shape_key)) for net in (first, second)]
    noisy = LabelNoise(task, [0.0] + [stds["label_noise"]] * draws)  # the first network of the batch learns without noise
    parts = []
    with tqdm(total=4, disable=not progress, unit="run", leave=False) as bar:
        for states, draw_key in zip(pairs, draw_keys, strict=True):
            *noise_keys, label_keys = jax.random.split(draw_key, (3, draws + 1))
            bar.set_description("noise")
            part = _before(*states, rnn, objective.steps) | _under_noise(*states, rnn, objective.steps, stds, noise_keys)
            bar.update()
            bar.set_description("learning")
            runs = [learn(state, noisy, rnn, rule, saves, label_keys) for state in states]
            part |= _learned(runs, states[0].layout, objective)
            part |= _early(states[0], task, rnn, rule, stds["label_noise"], runs[0]["time"].values)
            bar.update()
            parts.append(xr.Dataset(part))
    dataset: Any = xr.concat(parts, "network").assign(target=(("time", "readout", "input"), objective.targets))
    names = {"input": first.layout.latents[: first.inputs], "readout": first.layout.readouts}
    dataset = _compared(dataset.assign_coords({dim: list(labels) for dim, labels in names.items()}), rnn, task.loss_units)
    settings = {"learning_rate": rule.learning_rate, "steps": steps, "n": n, "draws": draws, "saves": saves, "key": key}
    settings |= {"first": first, "second": second, "task": task, "rnn": rnn, "version": VERSION, **stds}
    dataset.attrs = {"degeneracy": json.dumps(describe(settings))}
    return dataset


def alike(net: Overlaps, n: int, key: Any) -> Network:
    """A network of `n` neurons with these overlaps. For equal `n`, `key` and A, two such networks have the same m and u.

    A is the block [m u]^T [m u] / N. The vectors are P = sqrt(n) Q F, where F is upper triangular. So the leading columns of F
    depend only on the overlaps of the leading vectors, m and u.
    """
    layout = net.layout
    basis = Overlaps(np.eye(layout.size), *layout).sample(n, key).vectors
    triangle = np.linalg.qr(net.factor)[1]
    signs = np.where(np.diagonal(triangle) < 0, -1.0, 1.0)
    return Network(*layout.split(basis @ (signs[:, None] * triangle)))


def d_prime(mean: Any, std: Any) -> Any:
    """The difference of the two means (first axis) over the root mean square of the two standard deviations; 0 for 0 / 0."""
    scale = np.sqrt((std[0] ** 2 + std[1] ** 2) / 2)
    return (mean[1] - mean[0]) / np.where(scale > 0, scale, 1.0)


def _checked(nets: tuple[Any, Any], task: Any, rnn: Any) -> SampledLoss:
    """The loss as a function of the samples of the response. Raises ValueError unless both networks have the same response."""
    for net in nets:
        if not isinstance(net, Overlaps) or net.gram.ndim != 2:
            came = f"{type(net).__name__} came" if not isinstance(net, Overlaps) else f"a batch of {len(net.gram)} came"
            raise argument_error("first, second", "be single Overlaps", came, "For a Network, pass network.overlaps().")
    for name, thing, kind in (("task", task, LinearFilter), ("rnn", rnn, RNN)):
        if not isinstance(thing, kind):
            raise argument_error(name, f"be of type {kind.__name__}", f"{type(thing).__name__} came")
    with jax.enable_x64(True):
        objective, _ = (task.sampled_objective(net, rnn) for net in nets)
        first, second = (np.asarray(objective.response(net)) for net in nets)
    difference = np.max(np.abs(second - first))
    if difference > SAME * np.max(np.abs(first)):
        came = f"the two responses differ by up to {difference:.2g}"
        mend = "Change only invisible overlaps, as in first.replace(uu=2.05, mu=0.8)."
        raise argument_error("second", "have the impulse response of `first`", came, mend)
    return objective


def _before(net: Overlaps, network: Network, rnn: RNN, samples: int) -> dict[str, Any]:
    """Impulse response and mean square activity, of theory and of simulation."""
    trials = impulses(net.inputs, samples, rnn.step(None))
    latents, split = rnn.latents(net, trials).values, net.layout.driving
    activity = rnn.activity(network, trials).values
    power = [np.einsum("itp,pq,itq->it", latents, net.gram[:split, :split], latents), np.mean(activity**2, axis=-1)]
    output = [rnn.output(state, trials).values for state in (net, network)]
    return {
        "output": (("source", "input", "time", "readout"), np.stack(output)),
        "activity_power": (("source", "input", "time"), np.stack(power)),
    }


def _under_noise(net: Overlaps, network: Network, rnn: RNN, samples: int, stds: dict[str, float], keys: Any) -> dict[str, Any]:
    """Answers to noise in activity and in weights, with their means and standard deviations."""
    activity = stds["activity_noise"], activity_noise_covariance, activity_noise_answers
    weights = stds["weight_noise"], weight_noise_covariance, weight_noise_answers
    answers, moments = [], []
    for (std, covariance, simulate), own in zip((activity, weights), keys, strict=True):
        squares = np.sum(simulate(network, rnn, samples, std, own[1:]) ** 2, axis=(2, 3))
        answer = np.cumsum(squares, axis=1) / np.arange(1, samples + 1)
        mean, variance = running_moments(std**2 / network.n * covariance(net, rnn, samples))
        answers.append(answer)
        moments.append([[mean, answer.mean(0)], [np.sqrt(variance), answer.std(0, ddof=1)]])
    mean, std = np.moveaxis(np.array(moments), 0, 2)
    return {
        "noise_answer": (("noise", "draw", "time"), np.stack(answers)),
        "noise_mean": (("source", "noise", "time"), mean),
        "noise_std": (("source", "noise", "time"), std),
    }


def _learned(runs: list[xr.Dataset], layout: Layout, objective: SampledLoss) -> dict[str, Any]:
    """Losses without label noise, and answers to learning with it: of overlaps (theory) and of the network (simulation)."""
    answers = np.stack([_changes(objective, grams(run)[1:], layout) for run in runs])
    dims = ("source", "learning_time")
    return {
        "learning_time": runs[0]["time"].values,
        "loss": (dims, np.stack([run["loss"].values[0] for run in runs])),
        "learning_answer": (("source", "draw", "learning_time"), answers),
        "learning_mean": (dims, answers.mean(1)),
        "learning_std": (dims, answers.std(1, ddof=1)),
    }


@in_float64
@eqx.filter_jit
def _changes(objective: SampledLoss, gram: Any, layout: Layout) -> Float[AnyArray, "draws saves"]:
    """For each draw, the mean square change of the response since the first saved point."""

    def change(trajectory: Float[AnyArray, "saves D D"]) -> Float[AnyArray, " saves"]:
        responses = jax.vmap(lambda one: objective.response(Overlaps(one, *layout)))(trajectory)
        return jnp.sum((responses - responses[:1]) ** 2, axis=(1, 2, 3)) / objective.steps

    return jax.lax.map(change, gram)


@in_float64
def _early(net: Overlaps, task: LinearFilter, rnn: RNN, rule: GradientDescent, std: float, time: np.ndarray) -> dict[str, Any]:
    """Mean and standard deviation of the answer to early learning, for which the tangent kernel K is that of the start.

    At learning time s, f has changed by s g plus Gaussian noise. Here g = -K (f - f*), K = 2 dt J J^T and J = df/dF. The noise
    has the covariance s eta std^2 K^2, with the learning rate eta.
    """
    function, start = answers(net, task, rnn), jnp.ravel(net.factor)
    slopes = function.slopes(start)
    kernel = 2 * slopes @ slopes.T
    drift = kernel @ (function.targets - function.respond(start)) / function.roots
    noise, steps = std**2 * rule.learning_rate * time, len(drift) // (net.inputs * net.outputs)
    mean = time**2 * jnp.sum(drift**2) + noise * jnp.sum(kernel**2)
    variance = 4 * time**2 * noise * jnp.sum((kernel @ drift) ** 2) + 2 * noise**2 * jnp.sum((kernel @ kernel) ** 2)
    return {
        "early_mean": ("learning_time", np.asarray(mean) / steps),
        "early_std": ("learning_time", np.sqrt(np.asarray(variance)) / steps),
    }


def _compared(both: Any, rnn: RNN, loss_units: str) -> xr.Dataset:
    """The Dataset of both networks, with d', its standard errors, and labels."""
    both = both.transpose("network", ...)
    variables = {}
    for kind, dims in (("noise", ("source", "noise", "time")), ("learning", ("source", "learning_time"))):
        mean, std, answers = (both[f"{kind}_{name}"].values for name in ("mean", "std", "answer"))
        variables[f"{kind}_d_prime"] = (dims, d_prime(mean, std))
        variables[f"{kind}_d_prime_error"] = (dims[-2:], _standard_error(answers))
    early = d_prime(both["early_mean"].values, both["early_std"].values)
    variables["learning_d_prime_early"] = ("learning_time", early)
    dataset = both.assign(variables).drop_vars(["early_mean", "early_std"])
    dataset = dataset[list(MEANINGS)].assign_coords(
        source=["theory", "simulation"],
        network=["first", "second"],
        noise=["activity", "weights"],
        time=("time", rnn.step(None) * np.arange(both.sizes["time"]), said("time of the trial", "as tau")),
        learning_time=both["learning_time"].assign_attrs(said("learning time, learning rate x step")),
    )
    for name, meaning in MEANINGS.items():
        dataset[name].attrs = said(meaning, loss_units if name == "loss" else "1")
    return dataset


def _standard_error(answers: Float[np.ndarray, "2 *kind draws time"]) -> Float[np.ndarray, "*kind time"]:
    """The bootstrapped standard error of d': the draws of each network are resampled."""

    def statistic(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
        pair = np.stack([first, second])
        along = axis if axis < 0 else axis + 1
        return d_prime(pair.mean(along), pair.std(along, ddof=1))

    first, second = np.moveaxis(answers, -2, -1)
    resampled: Any = scipy.stats.bootstrap(
        (first, second), statistic, n_resamples=RESAMPLES, batch=10, axis=-1, method="percentile", rng=0
    )
    return resampled.standard_error
