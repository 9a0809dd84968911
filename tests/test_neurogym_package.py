"""Environments of the package neurogym itself, version 2.3 or newer. It has an environment of its own: see docs/neurogym.md."""

import numpy as np
import pytest

import overlaps as ov

# These warnings come from gymnasium and from what neurogym imports.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture
def neurogym():
    left_out = "LEFT OUT: the package neurogym. Its tests need an environment of their own: pip install -e '.[test,neurogym]'"
    return pytest.importorskip("neurogym", reason=left_out)


@pytest.mark.parametrize(
    ("name", "period", "inputs", "outputs", "samples"),
    [
        ("PerceptualDecisionMaking-v0", "decision", 3, 3, 22),
        ("ContextDecisionMaking-v0", "decision", 5, 3, None),
        ("DelayMatchSample-v0", "decision", 3, 3, 32),
        ("GoNogo-v0", "decision", 3, 2, 15),
        ("ReadySetGo-v0", "production", 3, 2, None),
        ("ReachingDelayResponse-v0", "decision", 2, 2, None),
        ("yang19.ctxdm1-v0", "decision", 33, 17, None),
    ],
)
def test_trials_are_those_of_the_environment(neurogym, name, period, inputs, outputs, samples):
    task = ov.tasks.from_neurogym(name, 12, 4, periods=period)
    env = neurogym.make(name).unwrapped
    env.seed(4)
    assert task.inputs.shape == (12, samples or task.inputs.shape[1], inputs)
    assert task.targets.shape == (*task.inputs.shape[:2], outputs)
    assert task.dt == env.dt / 100
    for trial in range(12):
        env.new_trial()
        end = len(env.ob)
        np.testing.assert_array_equal(task.inputs[trial, :end], env.ob)
        answers = env.gt if env.gt.ndim == 2 else env.gt[:, None] == np.arange(outputs)
        np.testing.assert_array_equal(task.targets[trial, :end], answers)
        counts = np.zeros(task.inputs.shape[1])
        counts[env.start_ind[period] : env.end_ind[period]] = 1.0
        np.testing.assert_array_equal(task.mask[trial], np.repeat(counts[:, None], outputs, axis=1))
        assert not np.any(task.inputs[trial, end:])


def test_a_network_learns_perceptual_decisions(neurogym):
    """It answers fresh trials of strong evidence, with noise that hides it in single samples."""
    env = neurogym.make("PerceptualDecisionMaking-v0", dt=20, cohs=[51.2])
    options = {"periods": "decision", "values": [0.0, -1.0, 1.0]}
    task = ov.tasks.from_neurogym(env, 20, 0, **options, pool=200)
    net, rnn = ov.Overlaps.random(0, inputs=3).sample(100, 1), ov.RNN("tanh", dt=0.2)
    result = ov.learn(net, task, rnn, ov.GradientDescent(0.05, 300), key=0)
    test = ov.tasks.from_neurogym(env, 100, 1, **options)
    choices = np.sign(np.asarray(rnn.output(ov.final_state(result), test.inputs))[:, -1])
    assert np.mean(choices == test.targets[:, -1]) > 0.9


def test_optional_periods_and_several_environments_in_one(neurogym):
    task = ov.tasks.from_neurogym("PostDecisionWager-v0", 30, 0, periods="pre_sure")
    env = neurogym.make("PostDecisionWager-v0").unwrapped
    env.seed(0)
    wagers = [bool(env.new_trial()["wager"]) for _ in range(30)]
    assert 0 < sum(wagers) < 30
    np.testing.assert_array_equal(np.any(task.mask > 0, axis=(1, 2)), wagers)
    modality = ov.tasks.from_neurogym("yang19.go-v0", 6, 0).inputs  # its two environments take turns
    active = [np.any(np.abs(modality[..., first : first + 16]) > 0.5, axis=(1, 2)) for first in (1, 17)]
    np.testing.assert_array_equal(active[0], ~active[1])
    np.testing.assert_array_equal(active[0], np.arange(6) % 2 == 0)


def test_wrappers_that_act_in_step_alone_have_no_effect(neurogym):
    from neurogym.wrappers import Noise, PassReward

    plain = ov.tasks.from_neurogym("DelayMatchSample-v0", 4, 0)
    for wrapper in (Noise, PassReward):
        wrapped = ov.tasks.from_neurogym(wrapper(neurogym.make("DelayMatchSample-v0")), 4, 0)
        np.testing.assert_array_equal(wrapped.inputs, plain.inputs)


def test_a_state_that_is_kept_between_trials_is_reported(neurogym):
    first, again = (ov.tasks.from_neurogym("yang19.go-v0", 5, 0) for _ in range(2))
    np.testing.assert_array_equal(first.inputs, again.inputs)  # a name makes a new environment
    with pytest.warns(RuntimeWarning, match="keeps a state from trial to trial"):
        ov.tasks.from_neurogym(neurogym.make("yang19.go-v0"), 5, 0)  # two environments inside take turns


@pytest.mark.filterwarnings("ignore:The environment drew other trials")  # of HierarchicalReasoning, by chance
def test_every_environment_gives_trials_or_one_clear_error(neurogym):
    from neurogym.envs.registration import all_envs

    refused = {
        "AnnubesEnv-v0": "needs arguments",
        "Bandit-v0": "no gt",
        "DawTwoStep-v0": "no ob and no gt",
        "EconomicDecisionMaking-v0": "no gt",
        "Null-v0": "no ob",
        "Reaching1D-v0": "actions from 0 to 2",
        "Reaching1DWithSelfDistraction-v0": "actions from 0 to 2",
    }
    for name in all_envs(collections=True):
        if name not in refused:
            assert len(ov.tasks.from_neurogym(name, 20, 0).inputs) == 20
        else:
            with pytest.raises(ValueError, match=refused[name]):
                ov.tasks.from_neurogym(name, 20, 0)
    with pytest.raises(ValueError, match=r"`env` must be the name of an environment .*'Nothing-v0' gave NameNotFound"):
        ov.tasks.from_neurogym("Nothing-v0", 3, 0)
