"""The page to play with (docs/explore): its numerics against the library, its sliders, address, Python code and buttons."""

import itertools
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.linalg

import overlaps as ov

racer = pytest.importorskip("py_mini_racer")

PAGE = Path(__file__).parents[1] / "docs/explore"
SCRIPTS = ["overlaps.js", "state.js", "charts.js", "page.js"]
DT, HORIZON, STEPS = 0.1, 20.0, 2000
VECTORS = "muvz"
VISIBLE, INVISIBLE = ["zm", "zu", "vm", "vu"], ["mu", "zv", "mm", "uu", "vv", "zz"]
LABELS = VISIBLE + INVISIBLE

# Stands for a browser: each element takes what the page sets, and keeps the listeners that the page adds.
BROWSER = """
const listeners = {}, elements = {}, frames = [];
const make = (id) => ({
  id, style: { setProperty() {} }, parts: {}, innerHTML: "", textContent: "", hidden: false, append() {}, setAttribute() {},
  querySelector(tag) { return this.parts[tag] ??= Object.assign(make(""), { tag, owner: this }); },
  addEventListener(type, listener) {
    const name = this.owner ? `${this.owner.id} ${this.tag}` : this.id;
    listeners[name] = { listener, on: this };
  },
});
const register = {
  set(made, name, value) {
    if (name === "id") elements[value] = made;
    return Reflect.set(made, name, value);
  },
};
var document = {
  getElementById: (id) => (elements[id] ??= make(id)),
  createElement: () => new Proxy(make(""), register),
};
var location = { hash: "", href: "file:///index.html" };
var history = { replaceState(_, __, address) { location.hash = address; } };
var navigator = {}, getSelection = () => ({ selectAllChildren() {} });
var requestAnimationFrame = (draw) => frames.push(draw), setTimeout = (act) => act(), clearTimeout = () => {};
var addEventListener = (type, listener) => { listeners[type] = { listener }; };
const use = (name, value) => {
  if (value !== undefined) listeners[name].on.value = value;
  listeners[name].listener();
  while (frames.length) frames.shift()();
};
const look = () => Object.values(elements).map((one) => [one.id, one.innerHTML + one.textContent]);
"""


class Page:
    """The scripts of the page in a JavaScript engine."""

    def __init__(self, scripts, before=""):
        self.engine = racer.MiniRacer()
        self.engine.eval(before)
        for script in scripts:
            self.engine.eval((PAGE / script).read_text())

    def __call__(self, function, *arguments):
        """The result of a JavaScript function of these arguments, which go there and back as JSON."""
        # JSON would write typed arrays as objects, and infinite numbers as null.
        plain = '(_, x) => (ArrayBuffer.isView(x) ? Array.from(x) : x === Infinity ? "inf" : x)'
        listed = ", ".join(json.dumps(argument) for argument in arguments)
        return json.loads(self.engine.eval(f"JSON.stringify(({function})({listed}) ?? null, {plain})"))


@pytest.fixture(scope="module")
def page():
    return Page(SCRIPTS[:2])


LEARN = f"""(values, rates, learningRate, steps, keep) => {{
    const tasks = rates.map((rate) => overlapTheory.filterTask(rate, 1.0, {HORIZON}, {DT}));
    return overlapTheory.learnInTurn(overlapTheory.gramOf(values), tasks, learningRate, steps).map((run) =>
        keep.map((step) => [...overlapTheory.LABELS.map((label) => run.overlaps[label][step]), run.loss[step]]));
}}"""


def values_of(gram):
    return {label: gram[VECTORS.index(label[0]), VECTORS.index(label[1])] for label in LABELS}


def gram_of(values):
    gram = np.zeros((4, 4))
    for label in LABELS:
        row, column = VECTORS.index(label[0]), VECTORS.index(label[1])
        gram[row, column] = gram[column, row] = values[label]
    return gram


def random_grams(count, seed):
    return [vectors.T @ vectors / 6 for vectors in np.random.default_rng(seed).standard_normal((count, 6, 4))]


@pytest.mark.slow
def test_fifty_networks_learn_as_in_the_library(page):
    random = np.random.default_rng(0)
    scales = enumerate(random.uniform(0.6, 1.2, 50))
    nets = ov.Overlaps(np.stack([ov.Overlaps.random(seed, scale=scale).gram for seed, scale in scales]))
    rates, learning_rates = random.uniform(0.1, 0.8, (2, 50))[[0, 1, 0]], random.uniform(5e-4, 4e-3, 50)
    rule = ov.GradientDescent(learning_rates, STEPS)
    phases = [
        ov.Phase(name, ov.tasks.exponential_filter(rate, 1.0, HORIZON), rule) for name, rate in zip("ABA", rates, strict=True)
    ]
    runs = ov.learn(nets, phases, ov.RNN(dt=DT), saves=3)
    assert runs["overlap"].values.tolist() == LABELS
    points = zip(nets.gram, rates.T, learning_rates, strict=True)
    kept = [0, STEPS // 2, STEPS]
    here = np.array([page(LEARN, values_of(gram), rate.tolist(), eta, STEPS, kept) for gram, rate, eta in points])
    here = here.reshape(50, len(kept) * 3, 11)
    np.testing.assert_allclose(here[..., :-1], runs["sigma"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(here[..., -1], runs["loss"], rtol=0, atol=1e-12)
    assert abs(here[:, 0, :-1] - here[:, -1, :-1]).max(axis=1).min() > 0.1  # they all learned something


def test_descent_against_neurons_that_are_simulated_one_by_one(page):
    neurons, steps, rate, eta = 5, 20, 0.3, 4e-3
    P = np.random.default_rng(1).standard_normal((neurons, 4))
    samples = round(HORIZON / DT)
    target = np.exp(-rate * DT * np.arange(samples))

    def loss(P):  # P: (copies, neurons, 4)
        m, u, v, z = np.moveaxis(P, -1, 0)
        h, total = m, 0.0
        for k in range(samples):
            total = total + ((z * h).sum(-1) / neurons - target[k]) ** 2 * DT
            h = h + DT * (-h + u * (v * h).sum(-1, keepdims=True) / neurons)
        return total

    here = np.array(page(LEARN, values_of(P.T @ P / neurons), [rate], eta, steps, list(range(steps + 1))))[0]
    nudges = 1e-30j * np.eye(P.size).reshape(P.size, neurons, 4)  # complex steps: derivatives that are exact to rounding
    for step in range(steps + 1):
        np.testing.assert_allclose(here[step, :-1], list(values_of(P.T @ P / neurons).values()), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(here[step, -1], loss(P[None])[0], rtol=1e-11)
        P = P - eta * neurons * (loss(P + nudges).imag / 1e-30).reshape(neurons, 4)


def test_slopes_where_the_two_poles_coincide(page):
    values = {**values_of(np.eye(4)), "zm": 0.4, "zu": 0.3, "vm": 0.2, "vu": 0.0}  # the filtered input decays as the latent
    slopes = f"""(values) =>
        overlapTheory.lossAndSlopes(overlapTheory.gramOf(values), overlapTheory.filterTask(0.2, 1, {HORIZON}, {DT}))"""

    def loss(values):
        step = np.array([[1 - DT, 0], [DT * values["vm"], 1 + DT * (values["vu"] - 1)]])
        powers = np.stack([np.linalg.matrix_power(step, k)[:, 0] for k in range(200)])
        return DT * ((powers @ [values["zm"], values["zu"]] - np.exp(-0.2 * DT * np.arange(200))) ** 2).sum()

    here = page(slopes, values)
    np.testing.assert_allclose(here["loss"], loss(values), rtol=1e-12)
    for label in VISIBLE:
        up, down = ({**values, label: values[label] + shift} for shift in (1e-5, -1e-5))
        np.testing.assert_allclose(here["slopes"][label], (loss(up) - loss(down)) / 2e-5, rtol=1e-7)


def test_twins_answer_alike_and_learn_differently(page):
    course = """() => explorerState.solve(explorerState.START).map(({ start, tasks, runs }) =>
        [overlapTheory.impulseResponse(start, tasks[0]), runs[0].loss])"""
    (response, loss), (twin_response, twin_loss) = page(course)
    assert response == twin_response
    assert loss[0] == twin_loss[0]
    assert max(np.divide(loss, twin_loss)) > 10


def test_a_learning_rate_that_is_too_large_ends_the_run(page):
    run = "(values) => overlapTheory.learn(overlapTheory.gramOf(values), overlapTheory.filterTask(0.2, 1, 20, 0.1), 1.0, 2000)"
    result = page(run, {**values_of(np.eye(4)), "zm": 0.1, "zu": 0.5})
    assert 0 < result["diverged"] == len(result["loss"]) < 100
    assert np.isfinite(result["loss"]).all()


def test_the_interval_of_an_overlap_ends_where_the_matrix_becomes_singular(page):
    interval = "(values, label) => overlapTheory.interval(overlapTheory.gramOf(values), label)"
    for gram in random_grams(10, 2):
        values = values_of(gram)
        for label in LABELS:
            low, high = page(interval, values, label)
            for end in [low] if high == "inf" else [low, high]:
                eigenvalues = np.linalg.eigvalsh(gram_of({**values, label: end}))
                assert abs(eigenvalues[0]) < 1e-12
                assert (high == "inf") == (label[0] == label[1])
            assert low < values[label]


def test_a_matrix_exists_where_its_eigenvalues_say_so(page):
    exists = "(values) => overlapTheory.exists(overlapTheory.gramOf(values))"
    random, answers = np.random.default_rng(3), []
    for gram in random_grams(100, 4):
        noise = random.standard_normal((4, 4))
        moved = gram + 0.2 * (noise + noise.T)
        answers.append(np.linalg.eigvalsh(moved)[0] > 0)
        assert page(exists, values_of(moved)) == answers[-1]
    assert 10 < sum(answers) < 90
    singular = scipy.linalg.block_diag([[1.0, 2.0], [2.0, 4.0]], [[0.0]], [[3.0]])
    assert page(exists, values_of(singular))


def test_sliders_keep_both_matrices_positive_semi_definite(page):
    walk = """(moves) => {
        let state = explorerState.START;
        return moves.map(([who, label, value]) => {
            state = explorerState.move(state, overlapTheory.VISIBLE.includes(label) ? "network" : who, label, value);
            return [state.network, explorerState.twinOf(state)];
        });
    }"""
    random = np.random.default_rng(5)
    moves = [(str(random.choice(["network", "twin"])), str(random.choice(LABELS)), random.uniform(-3, 5)) for _ in range(400)]
    states = page(walk, moves)
    for network, twin in states:
        assert [network[label] for label in VISIBLE] == [twin[label] for label in VISIBLE]
        for values in (network, twin):
            assert np.linalg.eigvalsh(gram_of(values))[0] > -1e-10 * 4
            assert all(round(value, 2) == value for value in values.values())
    moved = sum(first != second for first, second in itertools.pairwise(states))
    assert moved > 200  # the sliders are not stuck


RANDOM_STATE = """(numbers, inTurn) => ({
    ...explorerState.randomTwin(explorerState.START, () => numbers.shift()), inTurn, rate: 0.35, learningRate: 0.0015 })"""


def random_state(page, seed, in_turn):
    return page(RANDOM_STATE, np.random.default_rng(seed).uniform(size=200).tolist(), in_turn)


def test_the_address_holds_the_state(page):
    for seed in range(5):
        state = random_state(page, seed, bool(seed % 2))
        assert np.linalg.eigvalsh(gram_of(state["network"] | state["twin"]))[0] > -1e-10
        address = page("(state) => explorerState.encode(state)", state)
        assert page("(text) => explorerState.decode(text)", "#" + address) == state
    for broken in (
        "",
        "zm=1",
        address.replace("mm=1&", "mm=0&"),
        address.replace("zm=0.1", "zm=x"),
        address.replace("uu=0.8", "uu=9"),
    ):
        assert page("(text) => explorerState.decode(text)", broken) is None


@pytest.mark.slow
@pytest.mark.parametrize("in_turn", [False, True])
def test_the_copied_python_code_computes_what_the_page_shows(page, in_turn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = random_state(page, 7, in_turn)
    names = {}
    exec(compile(page("(state) => explorerState.pythonCode(state)", state), "copied", "exec"), names)
    plt.close("all")
    assert (tmp_path / "explore.png").stat().st_size > 10_000
    shown = page(
        """(state) => explorerState.solve(state).map(({ start, tasks, runs }) => ({ runs,
            before: overlapTheory.impulseResponse(start, tasks[0]),
            after: overlapTheory.impulseResponse(runs.at(-1).gram, tasks[0]) }))""",
        state,
    )
    for index, one in enumerate(shown):
        run, every = names["runs"][index], slice(None, None, 20)
        sigma = np.concatenate([np.stack([phase["overlaps"][label][every] for label in LABELS], -1) for phase in one["runs"]])
        np.testing.assert_allclose(sigma, run["sigma"], rtol=0, atol=1e-10)
        np.testing.assert_allclose(
            np.concatenate([phase["loss"][every] for phase in one["runs"]]), run["loss"], rtol=0, atol=1e-12
        )
        for when in ("before", "after"):
            np.testing.assert_allclose(one[when], names[when][index][:, 0], rtol=0, atol=1e-10)


def test_every_slider_and_button_draws(page):
    browser = Page(SCRIPTS, BROWSER)
    browser.engine.eval("while (frames.length) frames.shift()()")
    names = browser("() => Object.keys(listeners)")
    rows = {name for name in names if name.endswith(" input")}
    assert len(rows) == 3 + 4 + 6 + 6
    buttons = ["in-turn", "random-twin", "equal-twin", "restart", "copy", "share", "in-turn", "resize"]
    assert set(names) == rows | set(buttons) | {"hashchange"}
    before = dict(browser("look"))
    for name, value in [*((row, 1) for row in sorted(rows)), *((button, None) for button in buttons)]:
        browser(f"() => use({json.dumps(name)}, {json.dumps(value)} ?? undefined)")
        shown = dict(browser("look"))
        for chart in ("response", "loss", "seen", "unseen"):
            assert shown[chart].count('class="line"') == {"response": 4, "loss": 2, "seen": 8, "unseen": 12}[chart]
        assert not re.search("NaN|Infinity|undefined|null", "".join(shown.values())), name
    assert before["loss"] != shown["loss"]
    browser("""() => { location.hash = "#" + explorerState.encode({ ...explorerState.START, learningRate: 0.02, rate: 0.05,
        network: { ...explorerState.START.network, mm: 4, zz: 4, uu: 4, vv: 4 }, inTurn: true }); use("hashchange"); }""")
    assert "The learning rate is too large" in dict(browser("look"))["summary"]
    browser("() => { location.hash = '#zm=9'; use('hashchange'); }")
    assert "The address holds no state" in dict(browser("look"))["message"]


def test_the_page_asks_no_other_host():
    text = "".join(path.read_text() for path in sorted(PAGE.iterdir()))
    assert not re.search(r"https?:|//\w+\.\w|fetch\(|XMLHttpRequest|WebSocket|import\(|@import|url\((?!#)", text)
    scripts = re.findall(r'src="([^"]*)"', (PAGE / "index.html").read_text())
    assert scripts == SCRIPTS
