"""Arguments of the wrong kind raise an error of the library that names them. A phase portrait draws only what is inside it."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import overlaps as ov

NET, RNN = ov.Overlaps.random(0), ov.RNN("erf", dt=0.1)
FRESH = ov.tasks.flip_flop(trials=2, duration=6.0, dt=0.1)
STEP, LONGER = ov.GradientDescent(0.01, 2), ov.tasks.flip_flop(0, trials=2, duration=8.0, dt=0.1)
FIXED, X = FRESH.sample(0), np.zeros((2, 10, 1))
TWO = ov.tasks.Trials(np.stack([X, X]), np.stack([X, X]), None, 0.1)
PORTRAIT = RNN.phase_portrait(NET, points=5, extent=1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FRESH.loss(NET, RNN), r"`task` must be fixed to have a loss.*Use task.sample\(key\)"),
        (lambda: FIXED.loss(NET, "erf"), "`rnn` must be an RNN, but str came"),
        (lambda: TWO.loss(NET, RNN), "`task` must be a single one to have a loss"),
        (
            lambda: ov.learn(NET, [ov.Phase("A", FIXED, STEP), ov.Phase("B", LONGER, STEP)], RNN, observe="output"),
            r"`observe` must ask for what has one shape in all phases.*\(2, 60, 1\)\} in phase 'A' and .*\(2, 80, 1\)\} in 'B'",
        ),
        (lambda: RNN.output(NET, X, dt="a"), "`dt` must be a number greater than 0, but 'a' came"),
        (lambda: RNN.latents(NET, X, dt=np.ones(2)), "`dt` must be a number greater than 0"),
        (lambda: FIXED.loss("net", RNN), "`state` must be an Overlaps, MeanField, Network or DenseNetwork, but str came"),
        (lambda: ov.metric("net", RNN), "`state` must be a network, or its overlaps, but str came"),
        (lambda: ov.tasks.teacher(NET, None, 0), "`rnn` must be an RNN, but NoneType came"),
        (
            lambda: ov.tasks.flip_flop(jax.random.split(jax.random.key(0), 3)),
            "`key` must be a single key, but a batch of 3 came",
        ),
        (
            lambda: ov.plots.plot_trial(FRESH),
            r"`task` must be a set of trials, but FreshTrials came. Draw .* task.sample\(key\)",
        ),
        (lambda: ov.plots.plot_trial(FIXED, trial=7), "`trial` must be a whole number from 0 to 1, but 7 came"),
        (lambda: ov.plots.plot_trial(TWO), "`task` must be a single task, but a batch of 2 came"),
        (lambda: ov.plots.plot_phase_portrait(RNN.fixed_points(NET)), "`portrait` must be a result of rnn.phase_portrait"),
        (
            lambda: ov.plots.plot_phase_portrait(PORTRAIT, RNN.latents(ov.Overlaps.random(0, rank=2), X)),
            "`trajectory` must have the latents u of the portrait, but it has m, u1, u2",
        ),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_portrait_leaves_out_what_lies_beyond_it_and_has_its_legend_beside_it():
    net = ov.Overlaps(np.diag([1.0, 8.0, 4.0, 1.0])).replace(vu=3.0)  # rests at 0 and +-0.8
    portrait = RNN.phase_portrait(net, points=9, extent=0.5)
    ax = ov.plots.plot_phase_portrait(portrait)
    assert [list(line.get_xdata()) for line in ax.lines if line.get_marker() == "o"] == [[0.0]]
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1 - 1
    plt.close("all")
