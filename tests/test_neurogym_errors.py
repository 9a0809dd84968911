"""Bad environments and arguments of `from_neurogym` get one clear error."""

import sys

import numpy as np
import pytest

import overlaps as ov
from tests.test_neurogym import Comparison, variant


def make(env=None, trials=3, seed=0, **options):
    return lambda: ov.tasks.from_neurogym(Comparison() if env is None else env, trials, seed, **options)


def starts(value):
    """A period that starts at this sample."""
    return make(env=variant(start_ind=lambda env: {**env.start_ind, "decision": value}), periods="decision")


ERRORS = {
    "no trials": (make(trials=0), r"`trials` must be a whole number of at least 1, but 0 came"),
    "seed": (make(seed=2**32), r"`seed` must be less than 2\^32"),
    "negative seed": (make(seed=-1), r"`seed` must be a whole number of at least 0"),
    "tau": (make(tau=0.0), r"`tau` must be a number greater than 0, but 0.0 came"),
    "small pool": (make(pool=2), r"`pool` must be a whole number of at least 3, but 2 came"),
    "no environment": (
        make(env=3),
        r"`env` must be an environment, which has new_trial\(\), ob, .* int has no method new_trial",
    ),
    "no ob": (make(env=variant(ob=None)), r"Variant sets no ob in trial 0"),
    "no gt": (make(env=variant(gt=None)), r"sets no gt in trial 0\. Targets need the right answer"),
    "no periods": (make(env=variant(start_ind=None, end_ind=None)), r"sets no start_ind and no end_ind"),
    "list of periods": (make(env=variant(start_ind=lambda env: [0, 1])), r"have dictionaries from periods to samples"),
    "dt": (make(env=variant(dt=lambda env: 0)), r"`env.dt` must be a number greater than 0, but 0.0 came"),
    "class": (make(env=Comparison), r"the class Comparison came\. Make an instance: Comparison\("),
    "no weights": (make(periods={}), r"name a period in which the output counts, but none came"),
    "negative start": (starts(-1), r"0 <= start_ind <= end_ind <= \d, .* for period 'decision' in trial 0, but -1 and \d came"),
    "start after end": (starts(99), r"for period 'decision' in trial 0, but 99 and \d came"),
    "fraction as start": (starts(1.5), r"whole numbers .*'decision' in trial 0, but 1.5 and \d came"),
    "NaN as start": (starts(np.nan), r"whole numbers .*'decision' in trial 0, but nan and \d came"),
    "no start": (starts(None), r"whole numbers .*'decision' in trial 0, but None and \d came"),
    "flag as start": (starts(True), r"whole numbers .*'decision' in trial 0, but True and \d came"),
    "end beyond the trial": (
        make(env=variant(end_ind=lambda env: {**env.end_ind, "decision": len(env.ob) + 1}), seed=1),
        r"<= end_ind <= (\d), the number of observations, for period 'decision' in trial 0, but \d and \d came",
    ),
    "unknown period": (
        make(periods="choice"),
        r"periods of the environment, which are 'fixation', 'stimulus', 'decision', but 'choice'",
    ),
    "period of none": (
        make(env=variant(start_ind=lambda env: {}, end_ind=lambda env: {}), periods="choice"),
        r"`periods` must be None, but the environment has no periods",
    ),
    "number as period": (make(periods=3), r"`periods` must be names of periods, or weights by name, but 3 came"),
    "negative weight": (make(periods={"decision": -1.0}), r"`periods\['decision'\]` must be a number of at least 0, but -1.0"),
    "zero weight": (make(periods={"decision": 0.0}), r"name a period in which the output counts, but 'decision' has no sample"),
    "no weight": (make(periods=[]), r"name a period in which the output counts, but none came"),
    "rare period": (
        make(env=variant(end_ind=lambda env: {"fixation": int(len(env.ob) == 5)}), pool=9, periods="fixation", seed=1),
        r"leave fewer than 3 trials of the pool without an output that counts",
    ),
    "text": (
        make(env=variant(gt=lambda env: env.gt.astype(str))),
        r"`env.gt` must be integers, .* or real numbers, but .*<U21",
    ),
    "complex": (make(env=variant(gt=lambda env: env.gt + 1j)), r"`env.gt` must be integers.*complex128"),
    "NaN": (make(env=variant(ob=lambda env: env.ob * np.nan)), r"`env.ob` must be finite"),
    "NaN answer": (make(env=variant(gt=lambda env: env.gt * np.nan)), r"`env.gt` must be finite"),
    "single number": (make(env=variant(gt=lambda env: 1)), r"have arrays \(time, ...\) as ob and gt"),
    "length": (make(env=variant(gt=lambda env: env.gt[:-1])), r"one answer for each observation"),
    "no samples": (
        make(env=variant(gt=lambda env: env.gt[:0], ob=lambda env: env.ob[:0])),
        r"trial 0 has 0 observations and 0",
    ),
    "channels": (
        make(env=variant(ob=lambda env: np.ones((len(env.gt), len(env.gt)))), trials=9),
        r"have trials of one kind, but trial 0 has \d observations .*, and trial \d has \d observations",
    ),
    "two integers": (
        make(env=variant(gt=lambda env: np.ones((len(env.ob), 2), int))),
        r"one integer in each sample.*but 2 integers",
    ),
    "negative action": (
        make(env=variant(gt=lambda env: env.gt - 1)),
        r"have actions of at least 0 as its ground truth, but -1 came",
    ),
    "action out of range": (
        make(env=variant(action_space=lambda env: type("Discrete", (), {"n": 2}))),
        r"have actions from 0 to 1 as its ground truth, but 2 came. Pass `values` with a row for each action, 0 to 2",
    ),
    "few values": (make(values=[0.0, 1.0]), r"`values` must have shape \(actions,\) or .* for the 3 actions 0 to 2"),
    "values of real answers": (
        make(env=variant(gt=lambda env: env.gt / 2), values=[0, 1]),
        r"`values` must be None, but .* real-valued",
    ),
    "loss": (make(loss=lambda *arrays: np.nan), r"`loss` must be a function"),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_bad_environments_and_arguments_get_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_name_needs_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "neurogym", None)
    with pytest.raises(ImportError, match=r"'GoNogo-v0' needs the package neurogym .*pip install 'overlaps\[neurogym\]'"):
        ov.tasks.from_neurogym("GoNogo-v0", 3, 0)
