"""Environments as tasks, with an environment of the tests' own, which needs no package."""

import itertools

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


def test_samples_that_are_further_apart_than_tau_are_reported():
    with pytest.warns(RuntimeWarning, match=r"20 ms apart, 2 times `tau` = 10 ms.*`tau` here is in milliseconds"):
        task = ov.tasks.from_neurogym(Comparison(), 2, 0, tau=10.0)
    assert task.dt == 2.0
    assert ov.tasks.from_neurogym(Comparison(), 2, 0, tau=20.0).dt == 1.0  # without a warning
    assert np.isfinite(task.loss(NET, ov.RNN("tanh")))  # continuous time takes any dt


def test_periods_may_be_empty_touch_the_end_and_be_whole_floats():
    starts = lambda env: {**env.start_ind, "empty": len(env.ob), "all": 0.0}  # noqa: E731
    ends = lambda env: {**env.end_ind, "empty": len(env.ob), "all": float(len(env.ob))}  # noqa: E731
    whole, all_of_it, empty = (
        ov.tasks.from_neurogym(variant(start_ind=starts, end_ind=ends), 5, 0, periods=periods).mask
        for periods in (None, "all", ["empty", "fixation"])
    )
    np.testing.assert_array_equal(all_of_it, whole)
    np.testing.assert_array_equal(empty, ov.tasks.from_neurogym(Comparison(), 5, 0, periods="fixation").mask)


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
