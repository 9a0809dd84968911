"""Eigenvalues and outliers of networks whose whole W learns, along their training."""

import numpy as np
import pytest
import scipy.linalg

import overlaps as ov
from overlaps.connectivity._spectrum import follow
from overlaps.learning import _learn as learning
from tests.test_dense import EULER, INTEGRATOR, RNN, SHORT


def test_the_outlier_is_the_same_in_network_and_reduction():
    n, rule = 20, ov.GradientDescent(0.02, 600, rates={"m": 0, "z": 0})
    plane = np.linalg.qr(np.random.default_rng(0).standard_normal((n, 2)))[0]
    net = ov.DenseNetwork(0.5 * plane @ plane.T, *np.sqrt(n) * plane.T[:, :, None])
    full, few = (ov.learn(state, INTEGRATOR, RNN, rule, saves=5)["outlier_real"] for state in (net, net.reduced()))
    assert np.allclose(full, few, rtol=0, atol=1e-10)
    assert full.values[0] == pytest.approx(0.5)
    assert full.values[-1] > 0.75  # and not the faster pole, which is farther out


def test_the_outlier_is_not_a_mode_that_cancels_another():
    chain = np.diag(np.full(15, 0.5), -1)  # one Jordan block: eigenvectors are nearly parallel once it learns
    net = ov.DenseNetwork(chain, *np.random.default_rng(1).standard_normal((2, 16)))
    dataset = ov.learn(net, INTEGRATOR, RNN, ov.GradientDescent(0.01, 150), saves=3)
    assert dataset["loss"].values[-1] < 1e-2
    assert dataset["outlier_real"].values[-1] == pytest.approx(0.8, abs=0.02)
    growing = ov.DenseNetwork(np.diag([1.01, 0.8]), [1e-3, 1.4], [1e-3, 1.4])
    finite = ov.learn(growing, ov.tasks.exponential_filter(0.2, horizon=4.0), EULER, ov.GradientDescent(1e-3, 2), saves=2)
    assert finite["outlier_real"].values[-1] == pytest.approx(0.8, abs=0.01)


def test_lines_of_eigenvalues_go_on_where_they_cross():
    t = np.linspace(-1, 1, 40)
    lines = np.stack([0.5 * t, -0.5 * t + 0.3j, -0.5 * t - 0.3j, 0.8 + 0 * t], axis=1)
    generator = np.random.default_rng(0)
    shuffled = np.stack([generator.permutation(row) for row in lines])
    values = {name: np.zeros((40, 4, 1)) for name in ("alignment_left", "alignment_right")}
    values["alignment_left"] = shuffled.real[..., None]
    values["coupling"] = 1.0 * (np.abs(shuffled - lines[:, [3]]) < 1e-9)  # of the line at 0.8
    found = follow(values | {"eigenvalue_real": shuffled.real, "eigenvalue_imag": shuffled.imag})
    together = found["eigenvalue_real"] + 1j * found["eigenvalue_imag"]
    assert {tuple(line) for line in together.T} == {tuple(line) for line in lines.T}
    assert np.array_equal(found["alignment_left"][..., 0], together.real)
    assert np.array_equal(found["outlier_real"], lines[:, 3].real)


def test_spectra_of_a_run_are_those_of_its_states():
    net = ov.DenseNetwork.random(0, 25, 0.4)
    dataset = ov.learn(net, INTEGRATOR, RNN, ov.GradientDescent(0.02, 60), saves=7)
    end = ov.final_state(dataset)
    for place, state in ((0, net), (-1, end)):
        found = (dataset["eigenvalue_real"] + 1j * dataset["eigenvalue_imag"]).values[place]
        assert np.allclose(np.sort_complex(found), np.sort_complex(np.linalg.eigvals(state.W)), rtol=0, atol=1e-10)
    values, left, right = scipy.linalg.eig(end.W, left=True)
    energies = np.abs((end.z.T @ right)[0] * (end.m.T @ left.conj())[0] / 25) ** 2 / (2 - 2 * values.real)
    which = np.argmax(energies)
    assert np.allclose(dataset["coupling"].values[-1, 0], energies.max(), rtol=1e-8)
    assert dataset["outlier_real"].values[-1] == pytest.approx(values[which].real, abs=1e-12)
    for side, vectors in (("left", left), ("right", right)):
        for label, vector in (("m", end.m[:, 0]), ("z", end.z[:, 0])):
            plane = np.linalg.qr(
                np.stack([vectors[:, which].real, vectors[:, which].imag], 1)[:, : 1 + (values[which].imag != 0)]
            )[0]
            cosine = np.linalg.norm(plane.T @ vector) / np.linalg.norm(vector)
            found = dataset[f"alignment_{side}"].isel(time=-1, eigenvalue=0).sel(vector=label)
            assert found.item() == pytest.approx(cosine, abs=1e-10)
    assert dataset["weight_change"].values[-1] == pytest.approx(np.linalg.norm(end.W - net.W), rel=1e-12)
    with pytest.raises(ValueError, match=r"`state` must be a network.*final_state\(dataset\)"):
        ov.conserved(dataset)


def test_what_is_interrupted_has_its_last_eigenvalues(monkeypatch):
    def stop(record, rule):
        if record.position > 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(learning, "_report", stop)
    with pytest.raises(KeyboardInterrupt) as caught:
        ov.learn(ov.DenseNetwork.random(0, 6, 0.3), SHORT, EULER, ov.GradientDescent(0.02, 60), saves=58)
    assert np.all(np.isfinite(caught.value.dataset["eigenvalue_real"]))
    assert caught.value.dataset["step"].values[-1] > 20
