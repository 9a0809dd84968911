"""The figures of linear networks show what they claim, against plain NumPy."""

import numpy as np
import pytest
import xarray as xr

from overlaps.figures import _degeneracy, _loss_landscape, _metric, make

pytestmark = pytest.mark.slow


def made(name, folder):
    """The data of a figure that was made in a folder, and drawn."""
    make([name], folder, quick=True)
    assert (folder / f"{name}.pdf").stat().st_size > 10_000
    return xr.load_datatree(folder / f"{name}.nc", engine="h5netcdf")


def impulse_response(visible, dt, samples):
    """The output after a unit impulse: Euler steps of the filtered input k_m and the latent k."""
    zm, zu, vm, vu = visible
    state, outputs = np.array([1.0, 0.0]), []
    for _ in range(samples):
        outputs.append(zm * state[0] + zu * state[1])
        state = state + dt * np.array([-state[0], vm * state[0] + (vu - 1) * state[1]])
    return np.array(outputs)


def filter_loss(visible, rate=0.2, dt=0.1, samples=200):
    difference = impulse_response(visible, dt, samples) - np.exp(-rate * dt * np.arange(samples))
    return dt * np.sum(difference**2)


def test_the_filter_task_shows_theory_network_and_response(tmp_path):
    tree = made("filter_task", tmp_path)
    theory, network = tree["theory"].to_dataset(), tree["network"].to_dataset()
    common = np.intersect1d(theory["step"], network["step"])
    assert len(common) > 10
    assert common.min() == 0
    theory, network = (one.isel(time=np.isin(one["step"], common)) for one in (theory, network))
    np.testing.assert_allclose(theory["sigma"], network["sigma"], atol=1e-12)
    for stage, place in (("before", 0), ("after", -1)):
        visible = theory["sigma"].sel(overlap=["zm", "zu", "vm", "vu"]).values[place]
        expected = impulse_response(visible, 0.1, 200)
        for source in ("theory", "network"):
            response = tree[f"{source}_response"]["output"].sel(stage=stage)
            np.testing.assert_allclose(response, expected, atol=1e-12)
        np.testing.assert_allclose(theory["loss"].values[place], filter_loss(visible), rtol=1e-10)


def test_the_pair_of_the_degeneracy_differs_where_the_output_cannot_see_it(tmp_path, monkeypatch):
    study = _degeneracy.degeneracy
    monkeypatch.setattr(_degeneracy, "degeneracy", lambda *nets, n, draws, steps: study(*nets, n=10, draws=2, steps=4))
    tree = made("degeneracy", tmp_path)
    first, second = tree["initial"]["sigma"].sel(network="first"), tree["initial"]["sigma"].sel(network="second")
    assert list(first["overlap"].values[(first != second).values]) == ["mu", "uu"]
    pair = tree["degeneracy"].to_dataset()
    seen = first.isel(overlap=first["visible"].values).values
    output = pair["output"].sel(source="theory").isel(input=0, readout=0)
    for network in ("first", "second"):
        np.testing.assert_allclose(output.sel(network=network), impulse_response(seen, 0.1, 200), atol=1e-13)


def test_history_returns_until_there_is_noise_and_K_is_that_of_the_vectors(tmp_path):
    tree = made("history", tmp_path)
    run, network, spectrum = tree["theory"].to_dataset(), tree["network"].to_dataset(), tree["charges"]["spectrum"]
    np.testing.assert_allclose(run["sigma"][-1], network["sigma"][-1], atol=1e-10)  # with the same noise
    ends = {name: run["sigma"].isel(time=np.flatnonzero(run["phase"] == name)[-1]) for name in np.unique(run["phase"])}
    quiet = float(abs(ends["A again"] - ends["A"]).max())
    noisy = float(abs(ends["A, noise"] - ends["A"]).max())
    assert quiet < 0.01 < 0.1 < noisy
    calm = spectrum.isel(time=(run["phase"] != "A, noise").values)
    assert float(abs(calm - calm.isel(time=0)).max()) < 0.05 < float(abs(spectrum - spectrum.isel(time=0)).max())
    for when, vectors in ((0, network["initial_vectors"]), (-1, network["final_vectors"])):
        m, u, v, z = (vectors.sel(vector=name).values for name in "muvz")
        K = (np.outer(v, v) + np.outer(z, z) - np.outer(m, m) - np.outer(u, u)) / len(m)
        values = np.linalg.eigvalsh(K)
        values = values[np.argsort(abs(values))[-4:]]
        np.testing.assert_allclose(np.sort(-spectrum.values[when]), np.sort(values), atol=1e-10)


def test_under_adam_K_moves_without_noise(tmp_path):
    tree = made("history_adam", tmp_path)
    spectrum = tree["charges"]["spectrum"]
    first = spectrum.isel(time=(tree["network"]["phase"] == "A").values)
    assert float(abs(first - first.isel(time=0)).max()) > 0.3


def test_the_naive_flow_is_that_of_four_overlaps_alone():
    start, steps = np.array([0.1, -0.1, 0.05, 0.2]), 3
    matrix = np.diag([1.0, 2.0, 3.0, 4.0]) + 0.1
    expected = [start]
    for _ in range(steps):
        now, h = expected[-1], 1e-6
        slope = np.array([filter_loss(now + h * one) - filter_loss(now - h * one) for one in np.eye(4)]) / (2 * h)
        expected.append(now - _loss_landscape.LEARNING_RATE * matrix @ slope)
    np.testing.assert_allclose(_loss_landscape.naive_flow(start, steps, matrix), expected, atol=1e-9)
    points = np.array([[start, 2 * start], [0 * start, -start]])
    found = _loss_landscape.losses(points)
    np.testing.assert_allclose(found, [[filter_loss(one) for one in row] for row in points], rtol=1e-10)


@pytest.mark.parametrize("rank", [1, 2])
def test_the_pattern_of_the_metric_is_the_gram_matrix_of_the_slopes_of_overlaps(rank):
    pattern = _metric.pattern(rank)
    labels, visible = pattern["overlap"].values, pattern["visible"].values
    names = ["m", "u", "v", "z"] if rank == 1 else ["m", "u1", "u2", "v1", "v2", "z"]
    N, rng = 7, np.random.default_rng(0)
    P = dict(zip(names, rng.normal(size=(len(names), N)), strict=True))

    def vectors(label):
        return next((a, b) for a in names for b in names if a + b == label)

    def slopes(label):
        """N times the derivative of an overlap by all entries of all vectors, over sqrt(N)."""
        a, b = vectors(label)
        found = {name: np.zeros(N) for name in names}
        found[a] = found[a] + P[b]
        found[b] = found[b] + P[a]
        return np.concatenate(list(found.values())) / np.sqrt(N)

    gram = np.array([[slopes(one) @ slopes(other) for other in labels] for one in labels])
    overlap = {label: P[vectors(label)[0]] @ P[vectors(label)[1]] / N for label in labels}
    np.testing.assert_array_equal(pattern["kind"] == 0, gram == 0)
    for row, column in np.ndindex(gram.shape):
        terms = [term.split(" ") for term in pattern["text"].values[row, column].split(" + ") if term]
        value = sum(float(term[0] if len(term) == 2 else 1) * overlap[term[-1]] for term in terms)
        assert value == pytest.approx(gram[row, column], abs=1e-12)
        kinds = {bool(visible[list(labels).index(term[-1])]) for term in terms}
        assert len(kinds) <= 1  # visible and invisible overlaps never mix
        assert pattern["kind"].values[row, column] == (0 if not kinds else 1 + kinds.pop())
