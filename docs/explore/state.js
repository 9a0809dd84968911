/*
 * What the page shows, as plain data: two networks and how they learn. A state has
 *
 * - `network`: ten overlaps. `twin`: the six invisible overlaps of a second network, whose visible overlaps are the same,
 * - `rate`: the decay rate of the target. `learningRate`: that of gradient descent,
 * - `inTurn`: whether the networks learn the tasks A, B and A again. `otherRate`: the decay rate of the target of B.
 *
 * Overlaps are multiples of 0.01, so that addresses and Python code hold them exactly.
 */
"use strict";

var explorerState = (function () {
  const { VISIBLE, INVISIBLE, LABELS, gramOf, filterTask, learnInTurn, exists, interval } = overlapTheory;
  const DT = 0.1, HORIZON = 20, AMPLITUDE = 1, STEPS = 2000, SWEEPS = 20;
  const RATES = Array.from({ length: 30 }, (_, index) => (index + 1) / 20);  // 0.05 to 1.5
  const LEARNING_RATES = [1e-4, 1.5e-4, 2e-4, 3e-4, 5e-4, 7e-4, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02];
  const START = {
    network: { zm: 0.1, zu: 0.1, vm: 0.3, vu: 0.3, mu: 0.1, zv: 0, mm: 1, uu: 0.8, vv: 1.2, zz: 1.4 },
    twin: { mu: 0.8, zv: 0.3, mm: 1.2, uu: 2.5, vv: 0.6, zz: 1.1 },
    rate: 0.2, otherRate: 0.6, learningRate: 0.0005, inTurn: false,
  };

  const onGrid = (value) => Math.round(value * 100) / 100 + 0;  // + 0 turns -0 into 0
  const bounds = (label) => (label[0] === label[1] ? [0, 4] : [-2, 2]);
  const twinOf = (state) => ({ ...state.network, ...state.twin });
  const nearest = (list, value) => list.reduce((best, one) => (Math.abs(one - value) < Math.abs(best - value) ? one : best));

  /** The lowest and the highest value on the grid that `label` can take in all `networks`, if all else stays. */
  function limitsIn(networks, label) {
    let [low, high] = bounds(label);
    for (const values of networks) {
      const [least, most] = interval(gramOf(values), label);
      low = Math.max(low, Math.ceil(least * 100 - 1e-9) / 100 + 0);
      high = Math.min(high, Math.floor(most * 100 + 1e-9) / 100 + 0);
    }
    const now = networks[0][label];
    return low <= high ? [low, high] : [now, now];
  }

  /** The limits of a slider: of a visible overlap for both networks, of an invisible one for the network `who` alone. */
  function limits(state, who, label) {
    if (VISIBLE.includes(label)) return limitsIn([state.network, twinOf(state)], label);
    return limitsIn([who === "twin" ? twinOf(state) : state.network], label);
  }

  /** The state after `label` of `who` ("network" or "twin") was moved to `value`, or as far towards it as its limits allow. */
  function move(state, who, label, value) {
    const [low, high] = limits(state, who, label);
    return { ...state, [who]: { ...state[who], [label]: onGrid(Math.min(Math.max(value, low), high)) } };
  }

  /** The state with a random twin: its invisible overlaps are drawn anew in turn, each evenly within its limits. */
  function randomTwin(state, random) {
    for (let sweep = 0; sweep < SWEEPS; sweep++)
      for (const label of INVISIBLE) {
        const [low, high] = limits(state, "twin", label);
        state = move(state, "twin", label, low + (high - low) * random());
      }
    return state;
  }

  function equalTwin(state) {
    return { ...state, twin: Object.fromEntries(INVISIBLE.map((label) => [label, state.network[label]])) };
  }

  /**
   * The courses of learning: for each of the two networks its matrix at the start, and a run for each task. Where they learn
   * A, B, A, `controls` are the runs of the same network that learns A, A, A.
   */
  function solve(state) {
    const [A, B] = [state.rate, state.otherRate].map((rate) => filterTask(rate, AMPLITUDE, HORIZON, DT));
    const tasks = state.inTurn ? [A, B, A] : [A];
    return [state.network, twinOf(state)].map((values) => {
      const start = gramOf(values), runs = learnInTurn(start, tasks, state.learningRate, STEPS);
      const controls = state.inTurn ? [runs[0], ...learnInTurn(runs[0].gram, [A, A], state.learningRate, STEPS)] : [];
      return { start, tasks, runs, controls };
    });
  }

  /** The state as the part of an address after "#", and back. `decode` returns null for a text that holds no state. */
  function encode(state) {
    const overlaps = LABELS.map((label) => [label, state.network[label]]);
    const twin = INVISIBLE.map((label) => [`twin.${label}`, state.twin[label]]);
    const learning = ["rate", "otherRate", "learningRate", "inTurn"].map((name) => [name, Number(state[name])]);
    return [...overlaps, ...twin, ...learning].map(([name, value]) => `${name}=${value}`).join("&");
  }

  function decode(text) {
    const found = new Map(text.replace(/^#/, "").split("&").map((pair) => pair.split("=")));
    const number = (name) => (/^-?\d+(\.\d+)?(e-?\d+)?$/.test(found.get(name) ?? "") ? Number(found.get(name)) : NaN);
    const overlap = (label, name) => {
      const value = onGrid(number(name)), [low, high] = bounds(label);
      return value >= low && value <= high ? value : NaN;
    };
    const state = {
      network: Object.fromEntries(LABELS.map((label) => [label, overlap(label, label)])),
      twin: Object.fromEntries(INVISIBLE.map((label) => [label, overlap(label, `twin.${label}`)])),
      rate: nearest(RATES, number("rate")),
      otherRate: nearest(RATES, number("otherRate")),
      learningRate: nearest(LEARNING_RATES, number("learningRate")), inTurn: number("inTurn") === 1,
    };
    const numbers = ["rate", "otherRate", "learningRate", "inTurn"].every((name) => Number.isFinite(number(name)));
    return numbers && exists(gramOf(state.network)) && exists(gramOf(twinOf(state))) ? state : null;
  }

  /** Python code that computes with the library what the page shows. */
  function pythonCode(state) {
    const gram = gramOf(state.network);
    const rows = [0, 4, 8, 12].map((start) => `        [${Array.from(gram.slice(start, start + 4)).join(", ")}],`);
    const twin = INVISIBLE.map((label) => `${label}=${state.twin[label]}`).join(", ");
    const [amplitude, horizon] = [AMPLITUDE, HORIZON].map((value) => value.toFixed(1));
    const filter = (rate) => `ov.tasks.exponential_filter(rate=${rate}, amplitude=${amplitude}, horizon=${horizon})`;
    const inTurn = `A = ${filter(state.rate)}
B = ${filter(state.otherRate)}
phases = [ov.Phase(name, task, rule) for name, task in (("A", A), ("B", B), ("A", A))]`;
    const learn = state.inTurn ? "ov.learn(net, phases, rnn, saves=101)" : "ov.learn(net, task, rnn, rule, saves=101)";
    return `import matplotlib.pyplot as plt
import numpy as np

import overlaps as ov

network = ov.Overlaps(  # the scalar products of the vectors m, u, v, z, divided by the number of neurons
    [
${rows.join("\n")}
    ]
)
twin = network.replace(${twin})  # equal visible overlaps

rnn = ov.RNN(phi="linear", dt=${DT})
rule = ov.GradientDescent(learning_rate=${state.learningRate}, steps=${STEPS})
${state.inTurn ? inTurn : `task = ${filter(state.rate)}`}
runs = [${learn} for net in (network, twin)]

pulse = np.zeros(${Math.round(HORIZON / DT)})
pulse[0] = 1 / rnn.dt
before = [rnn.output(net, pulse) for net in (network, twin)]  # impulse responses
after = [rnn.output(ov.final_state(run), pulse) for run in runs]

figure, axes = plt.subplots(1, 4, figsize=(16, 4), layout="constrained")
for name, style, first, last, run in zip(("network", "twin"), ("-", "--"), before, after, runs):
    axes[0].plot(first.time - rnn.dt, first[:, 0], style, color="0.6", label=f"{name}, before")
    axes[0].plot(last.time - rnn.dt, last[:, 0], style, label=f"{name}, after")
    ov.plots.plot_learning(run, axes[1], linestyle=style, label=name)
    ov.plots.plot_overlaps(run, axes[2], visible=True, linestyle=style)
    ov.plots.plot_overlaps(run, axes[3], visible=False, linestyle=style)
axes[0].set(xlabel="time", ylabel="output after a pulse")
axes[0].legend()
axes[1].legend()
figure.savefig("explore.png")
`;
  }

  return {
    DT, HORIZON, STEPS, RATES, LEARNING_RATES, START,
    bounds, twinOf, limits, move, randomTwin, equalTwin, solve, encode, decode, pythonCode,
  };
})();
