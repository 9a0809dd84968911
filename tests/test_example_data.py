"""The network that ships with the examples does what `examples/train_in_pytorch.py` says of it."""

from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parents[1] / "examples/data"


@pytest.fixture(scope="module")
def trials():
    return dict(np.load(DATA / "neurogym_trials.npz"))


def outputs(name, inputs):
    network = {key: value.astype(float) for key, value in np.load(DATA / f"{name}.npz").items()}
    neurons = len(network["m"])
    drive, read = network["wi"] * network["si"][:, None], network["wo"] * network["so"] / neurons
    h, found = np.tile(network["h0"], (len(inputs), 1)), []
    for x in inputs.transpose(1, 0, 2):
        h = h + 0.2 * (-h + np.tanh(h) @ network["n"] @ network["m"].T / neurons + x @ drive)
        found.append(np.tanh(h) @ read)
    return np.stack(found, axis=1)


def correct(found, trials):
    last = (np.arange(len(found)), trials["periods"][:, -1, 1] - 1)
    return np.mean(found[last].argmax(-1) == trials["ground_truth"][last])


def test_the_formula_gives_the_outputs_that_pytorch_gave(trials):
    found = outputs("neurogym_rank2", trials["inputs"].astype(float))
    np.testing.assert_allclose(found, trials["outputs"], atol=1e-5)  # float32


def test_training_taught_the_task(trials):
    assert trials["accuracy"] >= 0.95
    assert correct(trials["outputs"], trials) >= 0.9
    assert correct(outputs("neurogym_rank2_initial", trials["inputs"].astype(float)), trials) < 0.6


def test_trials_are_zero_after_their_end_and_choices_lie_in_the_decision(trials):
    step = np.arange(trials["inputs"].shape[1])
    start, end = trials["periods"][:, -1, 0], trials["periods"][:, -1, 1]
    assert list(trials["period_names"]) == ["fixation", "stimulus", "delay", "decision"]
    assert not trials["inputs"][step >= end[:, None]].any()
    np.testing.assert_array_equal(trials["ground_truth"] > 0, (step >= start[:, None]) & (step < end[:, None]))
