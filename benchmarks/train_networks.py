"""Train low-rank networks in PyTorch on three cognitive tasks, and save each as an .npz file.

The model, with r = tanh(h), y read from the updated h, and h = 0 at the start:

    h <- h + alpha (-h + m n^T r / N + (wi * si[:, None])^T x + b),    y = r^T (wo * so) / N,    alpha = dt / tau = 0.2

All of m, n (N, R), wi (I, N) and wo (N, O) are trained from independent standard normal numbers, and b (N,) from zero if
--bias is given; si = 1, so = 1 and h0 = 0 are fixed. The matching task does not leave its plateau from there: for it, m and
the rows of wi are added to n, so that the first overlaps of n with m and with wi are the unit matrix. Each step takes fresh
trials. Run it as `python train_networks.py context --neurons 512 --output folder`.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

ALPHA = 0.2


def context(rng, trials):
    """Context-dependent decision: the output is the sign of the evidence in the channel that the context names.

    Inputs: evidence 1, evidence 2 (mean plus noise, steps 5 to 45), context 1, context 2 (one of them 1, steps 0 to 55).
    The loss and the decision are read at the last five of the 55 steps.
    """
    steps, on, off = 55, 5, 45
    strength = rng.choice([-0.4, -0.2, -0.1, 0.1, 0.2, 0.4], size=(trials, 2))
    which = rng.integers(2, size=trials)
    inputs, mask = np.zeros((trials, steps, 4)), np.zeros((trials, steps))
    inputs[:, on:off, :2] = strength[:, None] + 0.2 * rng.normal(size=(trials, off - on, 2))
    inputs[np.arange(trials), :, 2 + which] = 1.0
    targets = np.broadcast_to(np.sign(strength[np.arange(trials), which])[:, None, None], (trials, steps, 1))
    mask[:, -5:] = 1.0
    return inputs, targets, mask


def matching(rng, trials):
    """Delayed match to sample: the output is +1 if both stimuli are the same, and -1 if they differ.

    Inputs: stimulus A, stimulus B (one of them 1 for 10 steps, then a delay of 15 to 30 steps, then one of them for 10 steps),
    with small noise. The loss and the decision are read at the five steps that start five steps after the second stimulus.
    """
    steps, on, length = 70, 5, 10
    inputs, mask = 0.02 * rng.normal(size=(trials, steps, 2)), np.zeros((trials, steps))
    stimuli, delay = rng.integers(2, size=(trials, 2)), rng.integers(15, 31, size=trials)
    for trial, ((first, second), pause) in enumerate(zip(stimuli, delay, strict=True)):
        again = on + length + pause
        inputs[trial, on : on + length, first] += 1.0
        inputs[trial, again : again + length, second] += 1.0
        mask[trial, again + length + 5 : again + length + 10] = 1.0
    targets = np.where(stimuli[:, :1] == stimuli[:, 1:], 1.0, -1.0)[:, None, :] * np.ones((1, steps, 1))
    return inputs, targets, mask


def flip_flop(rng, trials):
    """Flip-flop of one bit: the output holds the sign of the last pulse.

    Input: pulses of +1 or -1, two steps long, one every 15 steps on average. The loss is read from the first pulse to the end,
    except in the five steps from the start of a pulse.
    """
    steps, length, settle = 80, 2, 5
    inputs, targets, mask = np.zeros((trials, steps, 1)), np.zeros((trials, steps, 1)), np.zeros((trials, steps))
    for trial in range(trials):
        start = rng.integers(0, 10)
        while start < steps - settle:
            sign = rng.choice([-1.0, 1.0])
            inputs[trial, start : start + length] = sign
            targets[trial, start:] = sign
            mask[trial, start : start + settle], mask[trial, start + settle :] = 0.0, 1.0
            start += settle + rng.geometric(0.1)
    return inputs, targets, mask


TASKS = {"context": context, "matching": matching, "flip_flop": flip_flop}


def initial(rng, neurons, rank, inputs, outputs, bias, correlated):
    """Parameters before training: independent standard normal numbers; correlated: n plus m and wi (which asks for R = I)."""
    shapes = {"m": (neurons, rank), "n": (neurons, rank), "wi": (inputs, neurons), "wo": (neurons, outputs)}
    values = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    if correlated:
        values["n"] += values["m"] + values["wi"].T
    if bias:
        values["b"] = np.zeros(neurons)
    return {name: torch.tensor(value, dtype=torch.float32, requires_grad=True) for name, value in values.items()}


def run(parameters, inputs):
    """Output (trials, steps, O) of the network for inputs (trials, steps, I)."""
    m, n, wi, wo = (parameters[name] for name in ("m", "n", "wi", "wo"))
    neurons = m.shape[0]
    drive = parameters.get("b", 0.0)
    h = torch.zeros(inputs.shape[0], neurons)
    r, outputs = torch.tanh(h), []
    for x in inputs.unbind(1):
        h = h + ALPHA * (-h + r @ n @ m.T / neurons + x @ wi + drive)
        r = torch.tanh(h)
        outputs.append(r @ wo / neurons)
    return torch.stack(outputs, 1)


def batch(task, rng, trials):
    """Inputs, targets and mask of fresh trials as tensors."""
    return tuple(torch.tensor(np.array(values), dtype=torch.float32) for values in task(rng, trials))


def squared_error(outputs, targets, mask):
    """Mean over the masked steps of the squared error."""
    return (mask[:, :, None] * (outputs - targets) ** 2).sum() / mask.sum() / targets.shape[2]


def evaluate(parameters, task, rng, trials=1000):
    """Scores on fresh trials, each over the masked steps.

    `accuracy`: fraction of steps with the right sign; `accuracy_of_whole_trials`: fraction of trials with it at every step;
    `within_half`: fraction of steps at which the output is less than 1/2 away from the target. The sign alone says little for
    the flip-flop: a network without memory filters its input, and keeps the sign of the last pulse while its output decays.
    """
    inputs, targets, mask = batch(task, rng, trials)
    with torch.no_grad():
        outputs = torch.cat([run(parameters, part) for part in inputs.split(50)])
    inside = mask > 0
    right, near = (outputs * targets)[:, :, 0] > 0, (outputs - targets)[:, :, 0].abs() < 0.5
    return {
        "loss": squared_error(outputs, targets, mask).item(),
        "accuracy": right[inside].float().mean().item(),
        "accuracy_of_whole_trials": (right | ~inside).all(1).float().mean().item(),
        "within_half": near[inside].float().mean().item(),
    }


def train(parameters, task, rng, steps, trials, rate, report=50):
    """Adam with a learning rate that falls by cosine to a tenth; returns the loss of each step."""
    optimizer = torch.optim.Adam(parameters.values(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, rate / 10)
    losses, start = [], time.perf_counter()
    for step in range(steps):
        inputs, targets, mask = batch(task, rng, trials)
        optimizer.zero_grad()
        loss = squared_error(run(parameters, inputs), targets, mask)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % report == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {np.mean(losses[-report:]):.4f}  {time.perf_counter() - start:.0f} s", flush=True)
    return np.array(losses)


def main():
    """Train one network, and save it with 32 fresh trials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--neurons", type=int, default=512)
    parser.add_argument("--rank", type=int, default=2)
    parser.add_argument("--bias", action="store_true", help="train biases of the neurons too")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=32, help="fresh trials of each step")
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate of Adam at the start")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("."), help="folder of the .npz file")
    options = parser.parse_args()

    torch.set_num_threads(1)
    rng, test = np.random.default_rng(options.seed), np.random.default_rng(options.seed + 1_000_000)
    task = TASKS[options.task]
    channels = task(np.random.default_rng(0), 1)[0].shape[2]
    parameters = initial(rng, options.neurons, options.rank, channels, 1, options.bias, options.task == "matching")
    before = {f"initial_{name}": value.detach().numpy().copy() for name, value in parameters.items()}
    start = time.perf_counter()
    losses = train(parameters, task, rng, options.steps, options.trials, options.rate)
    seconds = time.perf_counter() - start
    scores = evaluate(parameters, task, test)
    name = f"{options.task}_rank{options.rank}_{options.neurons}{'_bias' if options.bias else ''}"
    print(name, ", ".join(f"{key} {value:.4f}" for key, value in scores.items()), f"{seconds:.0f} s")

    inputs, targets, mask = batch(task, test, 32)
    with torch.no_grad():
        outputs = run(parameters, inputs)
    np.savez_compressed(
        options.output / f"{name}.npz",
        **{key: value.detach().numpy() for key, value in parameters.items()},
        si=np.ones(channels, np.float32),
        so=np.ones(1, np.float32),
        h0=np.zeros(options.neurons, np.float32),
        alpha=ALPHA,
        inputs=inputs.numpy(),
        targets=targets.numpy(),
        mask=mask.numpy(),
        outputs=outputs.numpy(),
        **scores,
        losses=losses.astype(np.float32),
        seconds=seconds,
        **(before if options.neurons <= 1000 else {}),
    )


if __name__ == "__main__":
    main()
