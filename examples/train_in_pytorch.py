"""Train a low-rank network in PyTorch on a task of neurogym, and save it for `overlaps.interop`.

The script needs `torch` and `neurogym`, and takes about one minute on one core. Its files ship in `examples/data`:

- `neurogym_rank2.npz`, and the same before training `neurogym_rank2_initial.npz`: a network of 512 tanh neurons and rank 2,
  with the arrays wi (I, N), si (I,), m (N, R), n (N, R), wo (N, O), so (O,) and h0 (N,).
- `neurogym_trials.npz`: 32 fresh trials. `inputs` (trials, steps, I) and `ground_truth` (trials, steps) are zero after the
  end of a trial, `outputs` (trials, steps, O) are of the trained network, `periods` (trials, 4, 2) has the first step, and
  the last plus one, of each of `period_names`. `loss` and `accuracy` are of 1000 fresh trials.

The model is h <- h + alpha (-h + m n^T r / N + (wi * si[:, None])^T x), r = tanh(h), y = r^T (wo * so) / N. The output is
read from the new h, and alpha = dt / tau = 20 ms / 100 ms. In ContextDecisionMaking-v0 with explicit contexts the network
sees two noisy stimuli, and reports the one that the context names. The loss is the squared error in the periods `fixation`
and `decision` from one-hot targets: fixation, choice 1, choice 2.
"""

import argparse
from pathlib import Path

import neurogym
import numpy as np
import torch

DT, TAU = 20, 100  # milliseconds
PERIODS = ("fixation", "stimulus", "delay", "decision")


def environment(seed):
    """The task, with half of its usual noise, a delay of 100 to 500 ms and a decision of 200 ms."""
    timing = {"delay": ("uniform", (100, 500)), "decision": 200}
    made = neurogym.make("ContextDecisionMaking-v0", dt=DT, use_expl_context=True, sigma=0.5, timing=timing).unwrapped
    made.seed(seed)
    return made


def draw(env, trials):
    """Fresh trials: inputs (trials, steps, I), ground truth (trials, steps), first and last plus one of each period."""
    inputs, truth, edges = [], [], []
    for _ in range(trials):
        env.new_trial()
        inputs.append(env.ob)
        truth.append(env.gt)
        edges.append([(env.start_ind[period], env.end_ind[period]) for period in PERIODS])
    longest = max(map(len, inputs))
    inputs = np.stack([np.pad(x, ((0, longest - len(x)), (0, 0))) for x in inputs])
    truth = np.stack([np.pad(x, (0, longest - len(x))) for x in truth])
    return inputs, truth, np.array(edges)


def run(parameters, inputs):
    """Outputs (trials, steps, O)."""
    m, n, wi, wo = (parameters[name] for name in ("m", "n", "wi", "wo"))
    h = r = torch.zeros(len(inputs), len(m))
    outputs = []
    for x in torch.from_numpy(inputs).unbind(1):
        h = h + DT / TAU * (-h + r @ n @ m.T / len(m) + x @ wi)
        r = torch.tanh(h)
        outputs.append(r @ wo / len(m))
    return torch.stack(outputs, 1)


def squared_error(outputs, truth, edges):
    """Mean squared error against one-hot targets in the periods `fixation` and `decision`."""
    start, end, step = edges[:, [0, 3], :1], edges[:, [0, 3], 1:], np.arange(truth.shape[1])
    inside = ((start <= step) & (step < end)).any(1)
    targets = torch.nn.functional.one_hot(torch.from_numpy(truth), outputs.shape[2])
    return torch.mean((outputs - targets)[torch.from_numpy(inside)] ** 2)


def save(path, parameters):
    """Write the parameters, with the scales si and so (one) and the initial activity h0 (zero)."""
    arrays = {name: value.detach().numpy() for name, value in parameters.items()}
    ones = {name: np.ones(size, np.float32) for name, size in (("si", len(arrays["wi"])), ("so", arrays["wo"].shape[1]))}
    np.savez_compressed(path, **arrays, **ones, h0=np.zeros(len(arrays["m"]), np.float32))


def main():
    """Train, test on fresh trials, and write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the files (default: results)")
    parser.add_argument("--steps", type=int, default=1500, help="steps of Adam, each with 32 fresh trials (default: 1500)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the initial network and of the trials (default: 0)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    rng, env = np.random.default_rng(options.seed), environment(options.seed)
    channels, actions = env.observation_space.shape[0], int(env.action_space.n)
    shapes = {"m": (512, 2), "n": (512, 2), "wi": (channels, 512), "wo": (512, actions)}
    drawn = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    parameters = {name: torch.tensor(value, requires_grad=True) for name, value in drawn.items()}
    save(options.output / "neurogym_rank2_initial.npz", parameters)

    optimizer = torch.optim.Adam(parameters.values(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps, 0.001)
    for step in range(options.steps):
        inputs, truth, edges = draw(env, 32)
        optimizer.zero_grad()
        loss = squared_error(run(parameters, inputs), truth, edges)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    save(options.output / "neurogym_rank2.npz", parameters)

    env.seed(options.seed + 1)
    inputs, truth, edges = draw(env, 1000)
    with torch.no_grad():
        outputs = run(parameters, inputs)
    last = (np.arange(len(truth)), edges[:, -1, 1] - 1)  # the choice is the largest output at the last step
    accuracy, loss = np.mean(outputs.numpy()[last].argmax(1) == truth[last]), squared_error(outputs, truth, edges).item()
    print(f"1000 fresh trials: loss {loss:.4f}, {accuracy:.1%} correct")
    few = {"inputs": inputs[:32], "ground_truth": truth[:32], "outputs": outputs.numpy()[:32], "periods": edges[:32]}
    np.savez_compressed(options.output / "neurogym_trials.npz", **few, period_names=PERIODS, loss=loss, accuracy=accuracy)


if __name__ == "__main__":
    main()
