"""The figures of nonlinear networks, of rank 2 and of whole matrices show what they say, against plain NumPy and analysis.

Each figure is computed with few neurons and few steps.
"""

import numpy as np
import pytest
import scipy.special
import scipy.stats

import overlaps as ov
from overlaps.figures import (
    _flip_flop,
    _history_decoding,
    _learning_rules,
    _outlier,
    _pair,
    _rank_2,
    _regimes,
    _spectra,
    _student_courses,
)

pytestmark = pytest.mark.slow


def outputs(vectors, inputs, dt):
    """The outputs (trials, time) of all neurons of an erf network of rank 1, step by step."""
    m, u, v, z = vectors.T
    h = np.zeros((len(inputs), len(m)))
    found = []
    for x in np.moveaxis(inputs[..., 0], 1, 0):
        h = h + dt * (-h + np.outer(phi(h) @ v / len(m), u) + np.outer(x, m))
        found.append(phi(h) @ z / len(m))
    return np.stack(found, 1)


def phi(h):
    return scipy.special.erf(np.sqrt(np.pi) / 2 * h)


def test_the_flip_flop_compares_one_start_on_the_same_trials():
    dt = 0.5
    tree = _flip_flop.runs(neurons=30, steps=6, dt=dt, trials=2, saves=3)
    for kind in ("fixed", "fresh"):
        theory, network = tree[f"{kind}/theory"], tree[f"{kind}/network"]
        assert np.allclose(theory["sigma"][0], network["sigma"][0], rtol=0, atol=1e-12)
        vectors = network["final_vectors"].values
        rows, columns = (list(network["vector"].values).index, list(network["vector"].values).index)
        for left, right, sigma in zip(*(network[name].values for name in ("left", "right")), network["sigma"][-1], strict=True):
            assert vectors[:, rows(left)] @ vectors[:, columns(right)] / 30 == pytest.approx(float(sigma), abs=1e-12)
        assert np.allclose(network["kurtosis"][-1], scipy.stats.kurtosis(vectors), rtol=0, atol=1e-10)
    task = ov.tasks.flip_flop(0, trials=2, dt=dt)
    for moment, name in ((0, "initial_vectors"), (-1, "final_vectors")):
        network = tree["fixed/network"]
        error = outputs(network[name].values, np.asarray(task.inputs), dt) - task.targets[..., 0]
        expected = np.sum(task.mask[..., 0] * error**2) / np.sum(task.mask)
        assert network["loss"].values[moment] == pytest.approx(expected, abs=1e-12)


def test_rules_are_shown_on_one_trial_and_adam_depends_on_the_neurons(monkeypatch):
    monkeypatch.setattr(_learning_rules, "PAIRS", {"Adam": _learning_rules.PAIRS["Adam"]})
    tree = _learning_rules.runs(neurons=20, duration=2.0, saves=3)
    shown, network = tree["task"], tree["Adam/network"]
    for moment, name in ((0, "initial_vectors"), (-1, "final_vectors")):
        expected = outputs(network[name].values, shown["inputs"].values[None, :, None], _learning_rules.DT)[0]
        assert np.allclose(network["output"][moment, :, 0], expected, rtol=0, atol=1e-12)
    distances = abs(tree["Adam/network"]["sigma"] - tree["Adam/another network"]["sigma"]).max("overlap").values
    assert distances[0] < 1e-12
    assert distances[-1] > 1e-3


def test_students_are_those_of_the_study_of_twins():
    steps, twins = 2, 5
    tree = _history_decoding.runs(twins, steps, (0.0, 0.3), draws=1, saves=3)
    study = ov.studies.train_twins(ov.studies.twin_starts(twins), steps=steps)
    for stage, other in zip(_history_decoding.STAGES, ("Initial", "A/B", "C"), strict=True):
        found = tree["stages"]["sigma"].sel(stage=stage).transpose("twin", "history", "overlap")
        expected = study["sigma"].sel(stage=other).transpose("twin", "history", "overlap")
        assert np.allclose(found, expected, rtol=0, atol=1e-12)
    assert tree["decoding"]["accuracy"].sizes["stage"] == 3
    couple = _student_courses.runs(steps, saves=3)
    for first in "AB":
        expected = study.sel(twin=0, history=first)
        assert np.allclose(couple[first]["sigma"][-1], expected["sigma"].sel(stage="C"), rtol=0, atol=1e-9)
        assert np.allclose(couple[first]["loss"][-1], expected["loss"].sel(stage="C"), rtol=0, atol=1e-9)


def test_rank_2_is_the_network_with_all_its_neurons():
    n, dt = 9, _rank_2.DT
    tree = _rank_2.runs(neurons=n, duration=0.2, saves=3)
    assert np.allclose(tree["theory"]["sigma"], tree["network"]["sigma"], rtol=0, atol=1e-10)
    assert tree["theory"]["sigma"].sizes["overlap"] == 21
    m, u1, u2, v1, v2, z = tree["network"]["initial_vectors"].values.T
    W = (np.outer(u1, v1) + np.outer(u2, v2)) / n
    h, response = m.copy(), []
    for _ in _rank_2.LAGS:
        response.append(z @ h / n)
        h = h + dt * (W @ h - h)
    assert np.allclose(tree["responses"]["before"], response, rtol=0, atol=1e-12)
    modes = np.log(1 + dt * (np.linalg.eigvals(W).astype(complex) - 1)) / dt
    found = tree["poles"]["real"].values[0] + 1j * tree["poles"]["imag"].values[0]
    assert all(np.abs(modes - pole).min() < 1e-8 for pole in found)


def test_errors_of_small_networks_fall_with_the_size_of_the_weights():
    errors = _outlier.runs(neurons=40, steps=60, saves=4)["errors"]["loss"]
    for order in _outlier.ORDERS:
        small, large = errors.sel(order=order, radius=0.01).item(), errors.sel(order=order, radius=0.1).item()
        assert np.log10(large / small) == pytest.approx(2 * order + 2, abs=0.3)  # of order radius^(2 order + 2)


def test_one_eigenvalue_or_one_pair_leaves_the_bulk_for_the_target():
    tree = _spectra.runs(neurons=40, saves=3)
    for name, poles in _spectra.POLES.items():
        end = tree[name].isel(time=-1)
        values = end["eigenvalue_real"].values + 1j * end["eigenvalue_imag"].values
        outside = values[abs(values) > 1.3 * _spectra.RADIUS]
        assert len(outside) == len(poles)
        assert all(np.abs(outside - pole).min() < 0.02 for pole in poles)


def test_rich_and_lazy_networks_start_alike_and_only_the_rich_one_changes():
    tree = _regimes.runs(neurons=40, order=1, duration=1.0, saves=3)
    for regime in _regimes.SCALES:
        assert np.allclose(tree[regime]["loss"][:, 0], 1 / (2 * _regimes.RATE), rtol=0, atol=1e-8)  # the output is 0
    rich, lazy = (tree[regime]["weight_change"].sel(theory="simulation").values[-1] for regime in ("rich", "lazy"))
    scale = _regimes.SCALES["lazy"]
    assert rich > 0.1
    assert 0 < lazy < 3 * rich / scale  # at a fixed loss the change is exactly 1 / scale; the rich network stops sooner


def test_the_plateau_is_longer_by_the_logarithm_of_the_rotation():
    tree = _pair.runs(neurons=4, saves=21)
    ends = []
    for seed in _pair.SEEDS:
        theory = tree[f"theory {seed:g}"]
        plateau = theory["loss"].values[60]
        ends.append(np.interp(-0.5 * plateau, -theory["loss"].values, theory["time"].values))
    assert np.allclose(np.diff(ends), np.diff(tree["ends"]["time"]), rtol=0.02)
    theory = tree[f"theory {_pair.SEEDS[1]:g}"].to_dataset().interp(time=tree["network"]["time"])
    assert np.allclose(theory["loss"], tree["network"]["loss"], rtol=0, atol=0.05)  # steps against a flow
    for part in ("real", "imag"):
        assert np.allclose(theory[f"outlier_{part}"], tree["network"][f"outlier_{part}"], rtol=0, atol=0.05)
    assert np.allclose(tree["responses"]["end"], tree["responses"]["target"], rtol=0, atol=1e-3)
