"""`rerun` repeats a study from the description in its Dataset, to the last digit."""

import json

import numpy as np
import optax
import pytest
import xarray as xr

import overlaps as ov
from tests.test_mean_field import CORRELATED, short_task

NET = ov.Overlaps(CORRELATED)
FILTER, EULER = ov.tasks.exponential_filter(horizon=4.0), ov.RNN(dt=0.1)
STEPS, SGD = ov.GradientDescent(0.05, 6), ov.GradientDescent(0.02, 4, optax.sgd)
NOISE = ov.tasks.label_noise(FILTER, 0.1)
FRESH = ov.tasks.label_noise(ov.tasks.decision_making(trials=2, dt=0.5), 0.1)
VALIDATIONS = {
    "auto": lambda: ov.validate(NET, short_task(), ov.RNN("erf", dt=0.2), STEPS, (30, 12), 3, key=5, tolerance=2e-2, saves=4),
    "nodes": lambda: ov.validate(NET, FILTER, EULER, STEPS, [12, 30], 2, key=np.uint32([1, 2]), exact=True, nodes=81),
    "phases": lambda: ov.validate(NET, [ov.Phase("A", FILTER, STEPS), ov.Phase("B", FILTER, SGD)], EULER, None, (12, 30), 2),
    "samples": lambda: ov.validate(ov.Overlaps.random(0, n=20), FRESH, ov.RNN(dt=0.5), STEPS, (20, 40), 2, exact=True),
}
STUDIES = {
    "memory of a network": lambda: ov.studies.memory(NET.sample(9, 0), [NOISE, FILTER], EULER, STEPS, saves=3, key=3),
    "memory of overlaps": lambda: ov.studies.memory(NET, rule=ov.GradientFlow(0.2), saves=3),
    "memory_table": lambda: ov.studies.memory_table("small steps", "linear", key=2),
    "degeneracy": lambda: ov.studies.degeneracy(NET, NET.replace(uu=1.1), FILTER, EULER, steps=5, n=10, draws=3, key=4),
    "compare_regimes": lambda: ov.integration.compare_regimes(duration=0.2, n=20, saves=3, rates={"m": 0.5}),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", [*VALIDATIONS.values(), *STUDIES.values()], ids=[*VALIDATIONS, *STUDIES])
def test_a_study_runs_again_from_its_file(make, tmp_path):
    dataset = make()
    dataset.to_netcdf(tmp_path / "study.nc")
    loaded = xr.load_dataset(tmp_path / "study.nc")
    xr.testing.assert_identical(loaded, dataset)
    xr.testing.assert_identical(ov.rerun(loaded), dataset)


def test_a_validation_says_what_was_asked_and_what_was_used():
    attributes = ov.validate(NET, FILTER, EULER, STEPS, (30, 12), 2, tolerance=0.5, saves=2).attrs
    asked = {name: json.loads(attributes[name]) for name in ("sizes", "seeds", "saves", "nodes_asked", "exact")}
    assert asked == {"sizes": [12, 30], "seeds": 2, "saves": 2, "nodes_asked": "auto", "exact": False}
    assert attributes["nodes"] > 1
    assert attributes["tolerance"] == 0.5


def test_what_cannot_run_again_says_so():
    rule = ov.GradientDescent(0.05, 3, optimizer=lambda rate: optax.sgd(rate))
    dataset = ov.validate(NET, FILTER, EULER, rule, (12, 30), 2, nodes=16, saves=2)
    with pytest.raises(ValueError, match=r"hold only what can be written down, but it holds <function"):
        ov.rerun(dataset)
    with pytest.raises(ValueError, match=r"`dataset` must be a result of one of `learn`, `validate`.*its attributes are \[\]"):
        ov.rerun(dataset.drop_attrs())


def test_a_validation_of_an_older_version_says_what_it_lacks():
    old = xr.Dataset(attrs={"validated": "[[1.0]]", "task": "{}", "rnn": "{}", "rule": "{}"})
    with pytest.raises(ValueError, match=r"`dataset` must describe all arguments of `validate`, but its attributes lack sizes"):
        ov.rerun(old)
