"""What states and tasks show in a notebook."""

import html.parser
import io

import jax
import matplotlib.image
import numpy as np
import pytest

import overlaps as ov


class Tables(html.parser.HTMLParser):
    """The tables of a page: their heads, their rows of texts, and the title and style of each cell."""

    def __init__(self, page):
        super().__init__()
        self.heads, self.rows, self.cells, self.open = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.cells.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "thead" in self.open:
            self.heads.append(data)
        elif self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def marked(state):
    """Labels of the overlaps of a state's table, by what their cells say, each once."""
    found = {}
    for cell in Tables(state._repr_html_()).cells:
        label, meaning = cell["title"].split(": ")
        assert found.setdefault(label, (meaning, cell["style"])) == (meaning, cell["style"])
    return found


@pytest.mark.parametrize(
    "state",
    [
        ov.Overlaps.random(0),
        ov.Overlaps.random(0, rank=2, inputs=2, outputs=3),
        ov.Overlaps.random(0, bias=True, initial=True),
        ov.Overlaps.random(1, rank=2).sample(20, key=0),
    ],
    ids=["rank 1", "rank 2", "with biases", "neurons"],
)
def test_tables_mark_the_overlaps_that_the_model_calls_visible(state):
    cells = marked(state)
    linear, gain = ov.RNN(), ov.RNN("erf")
    assert set(cells) == {*state.visible(gain), *state.invisible(gain)}
    assert {label for label, (meaning, _) in cells.items() if meaning == "visible"} == set(state.visible(linear))
    assert {label for label, (meaning, _) in cells.items() if meaning != "invisible"} == set(state.visible(gain))
    assert len({style for _, style in cells.values()}) == 3  # and the marks differ to the eye


def test_tables_hold_the_overlap_matrix():
    net = ov.Overlaps.random(0, rank=2)
    page = Tables(net._repr_html_())
    assert page.heads == net.labels
    assert [row[0] for row in page.rows[1:]] == net.labels
    shown = np.array([row[1:] for row in page.rows[1:]], float)
    np.testing.assert_allclose(shown, net.gram, atol=5e-4)
    assert "Overlaps(inputs=1, rank=2, outputs=1)" in net._repr_html_()
    assert "Network(n=20" in net.sample(20, key=0)._repr_html_()


def test_populations_show_weights_and_means():
    means = np.array([[0.0, 1.0, 2.0, 3.0], [0.5, 0.0, 0.0, -1.0]])
    state = ov.Populations([0.25, 0.75], means, np.tile(np.eye(4), (2, 1, 1)))
    page = Tables(state._repr_html_())
    assert page.heads[:5] == ["weight", "mean of m", "mean of u", "mean of v", "mean of z"]
    np.testing.assert_allclose(np.array([row[1:] for row in page.rows[1:3]], float), np.column_stack([[0.25, 0.75], means]))
    np.testing.assert_allclose(np.array([row[1:] for row in page.rows[4:]], float), state.gram, atol=5e-4)


def test_states_without_one_matrix_show_their_text():
    dense = ov.DenseNetwork(np.eye(5), np.ones(5), np.ones(5))
    batch = jax.vmap(lambda key: ov.Overlaps.random(key))(jax.random.split(jax.random.key(0), 3))
    for state in (dense, dense.reduced(), batch, batch.populations()):
        assert state._repr_html_() == f"<pre>{state!r}</pre>"
    shown = []
    jax.eval_shape(lambda gram: shown.append(ov.Overlaps(gram)._repr_html_()), np.eye(4))
    assert "gram of shape (4, 4)" in shown[0]


def test_filter_tasks_show_the_wanted_impulse_response():
    title, (curve,) = ov.tasks.damped_oscillation(rate=0.3, frequency=2.0, amplitude=1.5, horizon=10.0).shown()
    assert title == "wanted impulse response"
    assert curve.times[-1] == 10.0
    np.testing.assert_allclose(curve.values[:, 0], 1.5 * np.exp(-0.3 * curve.times) * np.cos(2 * curve.times), atol=1e-12)
    title, (curve,) = ov.tasks.exponential_filter(np.array([0.5, 1.0]), horizon=None).shown()
    assert title.endswith("(the first of a batch of 2)")
    np.testing.assert_allclose(curve.values[[0, -1], 0], [1.0, np.exp(-5.0)])  # until it has decayed


def test_trials_show_inputs_and_the_targets_that_count():
    task = ov.tasks.flip_flop(0, trials=3, bits=2)
    title, (inputs, targets) = task.shown()
    assert title == "the first of 3 trials"
    np.testing.assert_array_equal(inputs.values, task.inputs[0])
    counts = np.asarray(task.mask[0]) > 0
    np.testing.assert_array_equal(targets.values[counts], np.asarray(task.targets[0])[counts])
    assert np.isnan(targets.values[~counts]).all()
    assert len(inputs.times) == task.inputs.shape[1]


def test_random_tasks_show_a_drawn_trial():
    fresh = ov.tasks.flip_flop(trials=3)
    title, curves = fresh.shown()
    assert title == "the first of 3 trials that seed 0 draws"
    np.testing.assert_array_equal(curves[0].values, fresh.sample(0).inputs[0])
    title, _ = ov.tasks.label_noise(ov.tasks.exponential_filter(0.2), 0.1).shown()
    assert "noise of standard deviation 0.1" in title


def test_a_task_draws_itself():
    picture = ov.tasks.exponential_filter(0.2)._repr_png_()
    pixels = matplotlib.image.imread(io.BytesIO(picture), format="png")
    assert pixels.shape[:2] == (220, 600)
    assert (pixels[:, :, :3].std(axis=2) < 0.01).all()  # a grey picture:
    assert 0.005 < (pixels[:, :, 0] < 0.9).mean() < 0.2  # curve, axes and words on white
    traced = []
    jax.eval_shape(lambda rate: traced.append(ov.tasks.exponential_filter(rate)._repr_png_()), 0.2)
    assert traced == [None]
