"""Environments of neurogym as tasks. Most tests use an environment of their own; the last ones need the package itself."""

import itertools
import sys

import jax
import numpy as np
import pytest
import xarray as xr

import overlaps as ov

NET, EULER = ov.Overlaps.random(0, inputs=2, outputs=3), ov.RNN("tanh", dt=0.2)


class Comparison:
    """A small environment: which of two noisy inputs was larger? The stimulus takes 2 to 5 samples, the decision 2 or 3."""

    dt = 20.0

    def __init__(self):
        self.rng = np.random.default_rng()

    def seed(self, seed):
        self.rng = np.random.default_rng(seed)

    def new_trial(self):
        stimulus, decision = self.rng.integers(2, 6), self.rng.integers(2, 4)
        end = 1 + stimulus + decision
        self.start_ind = {"fixation": 0, "stimulus": 1, "decision": end - decision}
        self.end_ind = {"fixation": 1, "stimulus": end - decision, "decision": end}
        self.ob = np.zeros((end, 2), np.float32)
        self.ob[1:-decision] = self.rng.standard_normal((stimulus, 2))
        self.gt = np.zeros(end, int)
        self.gt[-decision:] = 1 + np.argmax(self.ob.sum(0))
        return {}


def variant(**attributes):
    """A Comparison whose trials have other attributes: functions of the environment after a trial, or None to delete one."""

    class Variant(Comparison):
        def new_trial(self):
            super().new_trial()
            for name, value in attributes.items():
                if value is None:
                    delattr(self, name)
                else:
                    setattr(self, name, value(self))

    return Variant()


def trials_of(number, seed):
    """The observations, ground truth and starts of decisions of a Comparison."""
    env, drawn = Comparison(), []
    env.seed(seed)
    for _ in range(number):
        env.new_trial()
        drawn.append((env.ob, env.gt, env.start_ind["decision"]))
    return drawn


def test_observations_answers_and_periods_become_inputs_targets_and_a_mask():
    task = ov.tasks.from_neurogym(Comparison(), 30, 5, periods={"decision": 2.0, "fixation": 0.5})
    drawn = trials_of(30, 5)
    assert len({len(ob) for ob, _, _ in drawn}) > 1  # of different length
    assert task.dt == 0.2  # 20 ms / 100 ms
    assert task.inputs.shape == (30, max(len(ob) for ob, _, _ in drawn), 2)
    for trial, (ob, gt, start) in enumerate(drawn):
        for k in range(task.inputs.shape[1]):
            inside = k < len(ob)
            np.testing.assert_array_equal(task.inputs[trial, k], ob[k] if inside else 0.0)
            np.testing.assert_array_equal(task.targets[trial, k], [float(inside and gt[k] == a) for a in range(3)])
            weight = 0.0 if not inside else 0.5 if k == 0 else 2.0 if k >= start else 0.0
            np.testing.assert_array_equal(task.mask[trial, k], weight)


def test_milliseconds_become_units_of_tau():
    assert ov.tasks.from_neurogym(Comparison(), 1, 0, tau=50.0).dt == 0.4
    with pytest.raises(ValueError, match=r"step"):
        ov.tasks.from_neurogym(Comparison(), 1, 0, tau=50.0).loss(NET, EULER)


def test_values_replace_the_actions():
    drawn = trials_of(8, 1)
    for values in ([0.0, -1.0, 1.0], [[0.0, 1.0], [-1.0, 2.0], [1.0, 3.0]]):
        task = ov.tasks.from_neurogym(Comparison(), 8, 1, values=values)
        for targets, (_, gt, _) in zip(task.targets, drawn, strict=True):
            expected = np.array([values[action] for action in gt]).reshape(len(gt), -1)
            np.testing.assert_array_equal(targets[: len(gt)], expected)
            np.testing.assert_array_equal(targets[len(gt) :], 0.0)


def test_real_answers_stay_as_they_are():
    for answer in (lambda env: env.ob[:, 0] + 0.25, lambda env: np.stack([env.ob, -env.ob], axis=2)):
        task = ov.tasks.from_neurogym(variant(gt=answer), 6, 2)
        doubled = ov.tasks.from_neurogym(variant(gt=answer, ob=lambda env: env.ob.reshape(len(env.ob), 1, 2)), 6, 2)
        for targets, (ob, _, _) in zip(task.targets, trials_of(6, 2), strict=True):
            expected = ob[:, :1] + 0.25 if task.targets.shape[2] == 1 else np.stack([ob, -ob], axis=2).reshape(-1, 4)
            np.testing.assert_array_equal(targets[: len(ob)], expected)
        np.testing.assert_array_equal(doubled.inputs, task.inputs)


def test_the_loss_of_padded_trials_is_that_of_a_plain_simulation_of_each_trial():
    network, task = NET.sample(40, 1), ov.tasks.from_neurogym(Comparison(), 12, 3, periods=["stimulus", "decision"])
    m, u, v, z = (np.asarray(x) for x in (network.m, network.u, network.v, network.z))
    error = weight = 0.0
    for ob, gt, _ in trials_of(12, 3):
        h = np.zeros(40)
        for k, x in enumerate(ob):
            h = h + 0.2 * (-h + u @ (v.T @ np.tanh(h)) / 40 + m @ x)
            if k > 0:  # all but the fixation
                error += np.sum((z.T @ np.tanh(h) / 40 - np.eye(3)[gt[k]]) ** 2)
                weight += 3
    np.testing.assert_allclose(task.loss(network, EULER), error / weight, rtol=1e-12)


def test_a_seed_fixes_the_trials():
    env = Comparison()
    first, again = (ov.tasks.from_neurogym(env, 5, 7) for _ in range(2))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert not np.array_equal(first.inputs, ov.tasks.from_neurogym(env, 5, 8, pool=None).inputs[:, : first.inputs.shape[1]])
    more = ov.tasks.from_neurogym(env, 50, 7)  # begins with the trials of the small set
    np.testing.assert_array_equal(more.inputs[:5, : first.inputs.shape[1]], first.inputs)


@pytest.mark.parametrize("kind", [np.random.default_rng, np.random.RandomState])
def test_an_object_without_a_method_seed_gets_a_new_generator(kind):
    class Seedless:
        dt, start_ind, end_ind = 50, {"all": 0}, {"all": 3}

        def __init__(self):
            self.rng = kind(0)

        def new_trial(self):
            self.ob, self.gt = self.rng.normal(size=(3, 1)), np.arange(3)

    one, other = (ov.tasks.from_neurogym(Seedless(), 4, seed, periods="all").inputs for seed in (1, 2))
    np.testing.assert_array_equal(one[..., 0], kind(1).normal(size=(4, 3)))
    np.testing.assert_array_equal(other[..., 0], kind(2).normal(size=(4, 3)))


def test_trials_that_the_seed_does_not_fix_are_reported():
    clock = itertools.count()
    env = variant(ob=lambda env: env.ob + next(clock))
    with pytest.warns(RuntimeWarning, match="other trials when it was seeded again"):
        ov.tasks.from_neurogym(env, 3, 0)


def test_a_period_counts_only_in_trials_that_have_it():
    class Optional(Comparison):
        """As neurogym does, it keeps the periods of earlier trials."""

        def __init__(self):
            self.start_ind, self.end_ind, self.count = {}, {}, 0

        def seed(self, seed):
            super().seed(seed)
            self.count = 0

        def new_trial(self):
            self.count += 1
            self.ob, self.gt = np.zeros((4, 1)), np.zeros(4, int)
            for name, start, end in (("stimulus", 0, 3), ("cue", 1, 2)) if self.count % 2 else (("stimulus", 0, 3),):
                self.start_ind[name], self.end_ind[name] = start, end

    env = Optional()
    for _ in range(2):  # the second time, the environment holds periods of earlier trials
        task = ov.tasks.from_neurogym(env, 4, 0, periods={"cue": 3.0, "stimulus": 1.0})
        np.testing.assert_array_equal(task.mask[..., 0], [[1, 3, 1, 0], [1, 1, 1, 0]] * 2)  # the larger weight counts
    assert type(env.start_ind) is dict


def test_answers_of_an_earlier_trial_do_not_count():
    class Forgetful(Comparison):
        """As neurogym does, it shows the last ground truth until a new one is built."""

        built = 0
        _ob_built = True

        def new_trial(self):
            kept = getattr(self, "gt", None)
            super().new_trial()
            self.built += 1
            self._gt_built = self.built != 2
            if not self._gt_built:
                self.gt = kept

    with pytest.raises(ValueError, match=r"Forgetful sets no gt in trial 1"):
        ov.tasks.from_neurogym(Forgetful(), 3, 0)


def test_wrappers_draw_and_the_environment_inside_shows():
    class Wrapper:
        def __init__(self, env):
            self.unwrapped = env

        def get_wrapper_attr(self, name):
            return self.new_trial if name == "new_trial" else getattr(self.unwrapped, name)

        def new_trial(self):
            self.unwrapped.new_trial()
            self.unwrapped.ob = 2 * self.unwrapped.ob

    wrapped, plain = (ov.tasks.from_neurogym(env, 5, 0).inputs for env in (Wrapper(Comparison()), Comparison()))
    np.testing.assert_array_equal(wrapped, 2 * plain)


def test_each_step_draws_other_trials_of_the_pool():
    task = ov.tasks.from_neurogym(Comparison(), 3, 0, pool=6)
    assert isinstance(task, ov.tasks.FreshTrials)
    pool = task.generator.pool
    np.testing.assert_array_equal(pool.inputs, ov.tasks.from_neurogym(Comparison(), 6, 0).inputs)
    times = np.zeros(6)
    for key in range(200):
        drawn = task.sample(key)
        rows = [int(np.flatnonzero(np.all(pool.inputs == one, axis=(1, 2)))[0]) for one in drawn.inputs]
        assert len(set(rows)) == 3
        np.testing.assert_array_equal(drawn.targets, pool.targets[rows])
        np.testing.assert_array_equal(drawn.mask, pool.mask[rows])
        times[rows] += 1
    # Each trial is in half of the sets: 100 of 200, with a standard deviation of 7.
    assert np.all(np.abs(times - 100) < 5 * 7.1)
    losses = ov.learn(NET, task, EULER, ov.GradientDescent(1e-20, 12), key=1).loss.values
    sets = [list(rows) for rows in itertools.combinations(range(6), 3)]
    known = [ov.tasks.Trials(pool.inputs[rows], pool.targets[rows], pool.mask[rows], pool.dt).loss(NET, EULER) for rows in sets]
    assert np.all(np.min(np.abs(losses[:, None] - np.array(known)), axis=1) < 1e-12)
    assert len(np.unique(losses.round(12))) > 3


def test_steps_that_draw_the_whole_pool_are_steps_on_a_fixed_set():
    rule = ov.GradientDescent(0.1, 20)
    fixed = ov.learn(NET, ov.tasks.from_neurogym(Comparison(), 5, 0), EULER, rule)
    drawn = ov.learn(NET, ov.tasks.from_neurogym(Comparison(), 5, 0, pool=5), EULER, rule, key=0)
    np.testing.assert_allclose(drawn.sigma, fixed.sigma, rtol=0, atol=1e-12)


def test_a_run_is_repeated_from_its_file_without_the_environment(tmp_path):
    batch = jax.tree.map(lambda *x: np.stack(x), NET, ov.Overlaps.random(1, inputs=2, outputs=3))
    fixed, fresh = (ov.tasks.from_neurogym(Comparison(), 4, 0, pool=pool) for pool in (None, 90))
    for state, task, key in ((NET, fixed, None), (batch, fresh, 3)):
        dataset = ov.learn(state, task, EULER, ov.GradientDescent(0.1, 5), key=key)
        dataset.to_netcdf(tmp_path / "run.nc")
        loaded = xr.load_dataset(tmp_path / "run.nc")
        assert "opaque" not in loaded.attrs["task"]
        xr.testing.assert_identical(ov.rerun(loaded), dataset)


def test_a_loss_of_the_user_serves_on_fixed_and_on_fresh_trials():
    def cross_entropy(outputs, targets, mask):
        return -jax.numpy.sum(mask * targets * jax.nn.log_softmax(outputs)) / jax.numpy.sum(mask * targets)

    fixed = ov.tasks.from_neurogym(Comparison(), 6, 0, periods="decision", loss=cross_entropy)
    fresh = ov.tasks.from_neurogym(Comparison(), 6, 0, periods="decision", loss=cross_entropy, pool=6)
    y = np.asarray(EULER.output(NET, fixed.inputs))
    chances = np.exp(y) / np.exp(y).sum(2, keepdims=True)
    counts = fixed.mask * fixed.targets > 0
    for task in (fixed, fresh.sample(0)):
        np.testing.assert_allclose(task.loss(NET, EULER), -np.log(chances[counts]).mean(), rtol=1e-12)


def make(env=None, trials=3, seed=0, **options):
    return lambda: ov.tasks.from_neurogym(Comparison() if env is None else env, trials, seed, **options)


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
    "no weight": (make(periods=[]), r"name a period in which the output counts, but no period has"),
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


@pytest.fixture
def neurogym():
    left_out = "LEFT OUT: the package neurogym. Its tests need an environment of their own: pip install -e '.[test,neurogym]'"
    return pytest.importorskip("neurogym", reason=left_out)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of gymnasium and of what neurogym imports
class TestRealPackage:
    """Environments of the package itself, version 2.3 or newer."""

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
    def test_trials_are_those_of_the_environment(self, neurogym, name, period, inputs, outputs, samples):
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

    def test_a_network_learns_perceptual_decisions(self, neurogym):
        """It answers fresh trials of strong evidence, with noise that hides it in single samples."""
        env = neurogym.make("PerceptualDecisionMaking-v0", dt=20, cohs=[51.2])
        options = {"periods": "decision", "values": [0.0, -1.0, 1.0]}
        task = ov.tasks.from_neurogym(env, 20, 0, **options, pool=200)
        net, rnn = ov.Overlaps.random(0, inputs=3).sample(100, 1), ov.RNN("tanh", dt=0.2)
        result = ov.learn(net, task, rnn, ov.GradientDescent(0.05, 300), key=0)
        test = ov.tasks.from_neurogym(env, 100, 1, **options)
        choices = np.sign(np.asarray(rnn.output(ov.final_state(result), test.inputs))[:, -1])
        assert np.mean(choices == test.targets[:, -1]) > 0.9

    def test_optional_periods_and_several_environments_in_one(self, neurogym):
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

    def test_wrappers_that_act_in_step_alone_have_no_effect(self, neurogym):
        from neurogym.wrappers import Noise, PassReward

        plain = ov.tasks.from_neurogym("DelayMatchSample-v0", 4, 0)
        for wrapper in (Noise, PassReward):
            wrapped = ov.tasks.from_neurogym(wrapper(neurogym.make("DelayMatchSample-v0")), 4, 0)
            np.testing.assert_array_equal(wrapped.inputs, plain.inputs)

    def test_a_state_that_is_kept_between_trials_is_reported(self, neurogym):
        first, again = (ov.tasks.from_neurogym("yang19.go-v0", 5, 0) for _ in range(2))
        np.testing.assert_array_equal(first.inputs, again.inputs)  # a name makes a new environment
        with pytest.warns(RuntimeWarning, match="keeps a state from trial to trial"):
            ov.tasks.from_neurogym(neurogym.make("yang19.go-v0"), 5, 0)  # two environments inside take turns

    @pytest.mark.filterwarnings("ignore:The environment drew other trials")  # of HierarchicalReasoning, by chance
    def test_every_environment_gives_trials_or_one_clear_error(self, neurogym):
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
