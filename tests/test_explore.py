"""The numerics of the page to play with (docs/explore/overlaps.js) against the library."""

import json
from pathlib import Path

import numpy as np
import pytest

import overlaps as ov

racer = pytest.importorskip("py_mini_racer")

PAGE = Path(__file__).parents[1] / "docs/explore"
DT, HORIZON, STEPS = 0.1, 20.0, 2000
RNN = ov.RNN(dt=DT)


@pytest.fixture(scope="module")
def page():
    """A function that calls a function of the page, with arguments and results as JSON."""
    engine = racer.MiniRacer()
    for script in ("overlaps.js",):
        engine.eval((PAGE / script).read_text())

    def call(function, *arguments):
        return json.loads(engine.eval(f"JSON.stringify(({function})(...{json.dumps(arguments)}))"))

    return call


LEARN = f"""(values, rates, learningRate, keep) => {{
    const tasks = rates.map((rate) => overlapTheory.filterTask(rate, 1.0, {HORIZON}, {DT}));
    const runs = overlapTheory.learnInTurn(overlapTheory.gramOf(values), tasks, learningRate, {STEPS});
    return runs.map((run) => [0, {STEPS}].map((step) => overlapTheory.LABELS.map((label) => run.overlaps[label][step]).concat(run.loss[step])));
}}"""


def test_fifty_networks_learn_as_in_the_library(page):
    random = np.random.default_rng(0)
    nets = ov.Overlaps(np.stack([ov.Overlaps.random(seed, scale=scale).gram for seed, scale in enumerate(random.uniform(0.6, 1.2, 50))]))
    rates, learning_rates = random.uniform(0.1, 0.8, (2, 50)), random.uniform(5e-4, 4e-3, 50)
    rule = ov.GradientDescent(learning_rates, STEPS)
    phases = [ov.Phase(name, ov.tasks.exponential_filter(rate, 1.0, HORIZON), rule) for name, rate in zip("ABA", rates[[0, 1, 0]])]
    import time; t = time.time()
    runs = ov.learn(nets, phases, RNN, saves=2)
    print(time.time() - t, runs.step.values); t = time.time()
    ours = [page(LEARN, dict(zip(runs.overlap.values.tolist(), sigma.tolist())), list(rate), eta) for sigma, rate, eta in zip(runs.sigma[:, 0].values, rates[[0, 1, 0]].T, learning_rates)]
    print(time.time() - t)
    ours = np.array(ours)  # batch, phase, 2, 11
    theirs = np.concatenate([runs.sigma.values, runs.loss.values[..., None]], axis=-1).reshape(50, 3, 2, 11)
    e = abs(ours - theirs)
    print(runs.loss.values[:, 1].max(), e.max(axis=(0, 1, 3)), e.max(axis=(0,2,3)), np.sort(e.max(axis=(1,2,3)))[-8:])
