/*
 * The learning of a linear rank-1 network with one input and one output, computed from its overlaps alone.
 *
 * The overlap of two connectivity vectors a and b of N neurons is a.b / N. The vectors are m (input), u and v (recurrence,
 * W = u v^T / N) and z (readout). `gram` is the matrix of all overlaps in the order m, u, v, z: 16 numbers, row after row.
 * docs/theory.md derives the equations. tests/test_explore.py compares this file with the Python library.
 *
 * The network is stepped by forward Euler, with time constant 1. Its impulse response is f_k = zm a^k + dt zu vm h_k, where
 * a = 1 - dt, and h_k = sum over j < k of a^(k-1-j) b^j with b = 1 + dt (vu - 1). A task asks for the response
 * f*(t) = amplitude exp(-rate t). The loss is the sum over the samples k < horizon / dt of (f_k - f*(k dt))^2 dt.
 */
"use strict";

var overlapTheory = (function () {
  const VECTORS = "muvz", SIZE = 4;
  const VISIBLE = ["zm", "zu", "vm", "vu"];  // the loss depends on these
  const INVISIBLE = ["mu", "zv", "mm", "uu", "vv", "zz"];
  const LABELS = [...VISIBLE, ...INVISIBLE];
  const DEPENDENT = 1e-12;  // a remainder below this fraction of a self-overlap counts as zero
  const ROUNDING = 1e-10;  // negative remainders above this fraction of the largest self-overlap do not come from rounding

  function place(label) {
    return [VECTORS.indexOf(label[0]), VECTORS.indexOf(label[1])];
  }

  function indexOf(label) {
    const [row, column] = place(label);
    return SIZE * row + column;
  }

  const [ZM, ZU, VM, VU] = VISIBLE.map(indexOf);

  /** The matrix of the overlaps in `values`, an object that has a number for each label. */
  function gramOf(values) {
    const gram = new Float64Array(SIZE * SIZE);
    for (const label of LABELS) {
      const [row, column] = place(label);
      gram[SIZE * row + column] = gram[SIZE * column + row] = values[label];
    }
    return gram;
  }

  const valueOf = (gram, label) => gram[indexOf(label)];

  /** A task with all that does not learn: the filtered input and the wanted response at the samples. */
  function filterTask(rate, amplitude, horizon, dt) {
    const samples = Math.round(horizon / dt);
    const filtered = new Float64Array(samples), target = new Float64Array(samples);
    for (let k = 0; k < samples; k++) {
      filtered[k] = Math.pow(1 - dt, k);
      target[k] = amplitude * Math.exp(-rate * k * dt);
    }
    return { dt, samples, filtered, target };
  }

  function impulseResponse(gram, task) {
    const { dt, samples, filtered } = task;
    const zm = gram[ZM], zu = gram[ZU], vm = gram[VM], vu = gram[VU];
    const response = new Float64Array(samples), b = 1 + dt * (vu - 1);
    let h = 0;
    for (let k = 0; k < samples; k++) {
      response[k] = zm * filtered[k] + dt * zu * vm * h;
      h = b * h + filtered[k];
    }
    return response;
  }

  /** The loss and its derivatives by the visible overlaps. One pass over the samples carries h_k and g_k = dh_k / db. */
  function lossAndSlopes(gram, task) {
    const { dt, samples, filtered, target } = task;
    const zm = gram[ZM], zu = gram[ZU], vm = gram[VM], vu = gram[VU];
    const b = 1 + dt * (vu - 1), gain = dt * zu * vm;
    let h = 0, g = 0, loss = 0, byInput = 0, byH = 0, byG = 0;
    for (let k = 0; k < samples; k++) {
      const a = filtered[k], error = zm * a + gain * h - target[k];
      loss += error * error;
      byInput += error * a;
      byH += error * h;
      byG += error * g;
      g = b * g + h;
      h = b * h + a;
    }
    const twice = 2 * dt;
    return {
      loss: dt * loss,
      slopes: { zm: twice * byInput, zu: twice * dt * vm * byH, vm: twice * dt * zu * byH, vu: twice * gain * dt * byG },
    };
  }

  const T = new Float64Array(SIZE * SIZE), TG = new Float64Array(SIZE * SIZE);

  /** One step of gradient descent on all vectors, in place: G <- T G T with T = 1 - eta S, exact at any learning rate eta. */
  function descend(gram, slopes, learningRate) {
    T.fill(0);
    for (let i = 0; i < SIZE; i++) T[SIZE * i + i] = 1;
    T[ZM] = T[SIZE * 0 + 3] = -learningRate * slopes.zm;
    T[ZU] = T[SIZE * 1 + 3] = -learningRate * slopes.zu;
    T[VM] = T[SIZE * 0 + 2] = -learningRate * slopes.vm;
    T[VU] = T[SIZE * 1 + 2] = -learningRate * slopes.vu;
    for (let i = 0; i < SIZE; i++)
      for (let j = 0; j < SIZE; j++) {
        let sum = 0;
        for (let k = 0; k < SIZE; k++) sum += T[SIZE * i + k] * gram[SIZE * k + j];
        TG[SIZE * i + j] = sum;
      }
    for (let i = 0; i < SIZE; i++)
      for (let j = 0; j <= i; j++) {
        let sum = 0;
        for (let k = 0; k < SIZE; k++) sum += TG[SIZE * i + k] * T[SIZE * k + j];
        gram[SIZE * i + j] = gram[SIZE * j + i] = sum;
      }
  }

  /**
   * Train on one task. Returns `loss` and `overlaps[label]` at the steps 0, 1, ..., the last matrix `gram`, and `diverged`: the
   * step at which the numbers became infinite, or null. After this step nothing is computed, and the arrays end.
   */
  function learn(start, task, learningRate, steps) {
    const gram = Float64Array.from(start), loss = new Float64Array(steps + 1);
    const courses = LABELS.map((label) => [label, indexOf(label), new Float64Array(steps + 1)]);
    const result = (points, diverged) => ({
      loss: loss.subarray(0, points),
      overlaps: Object.fromEntries(courses.map(([label, , course]) => [label, course.subarray(0, points)])),
      gram, diverged,
    });
    for (let step = 0; ; step++) {
      const now = lossAndSlopes(gram, task);
      if (!Number.isFinite(now.loss) || !gram.every(Number.isFinite)) return result(step, step);
      loss[step] = now.loss;
      for (const [, index, course] of courses) course[step] = gram[index];
      if (step === steps) return result(steps + 1, null);
      descend(gram, now.slopes, learningRate);
    }
  }

  /** Train on one task after the other. Returns one result of `learn` for each task, up to the one that diverges. */
  function learnInTurn(gram, tasks, learningRate, steps) {
    const runs = [];
    for (const task of tasks) {
      const run = learn(gram, task, learningRate, steps);
      runs.push(run);
      if (run.diverged !== null) break;
      gram = run.gram;
    }
    return runs;
  }

  /** The overlaps of what remains of all vectors after the projection on the span of the vectors in `fixed` is taken off. */
  function remainders(gram, fixed) {
    const rest = Float64Array.from(gram), left = new Set(fixed);
    while (left.size) {
      const next = [...left].reduce((best, k) => (rest[SIZE * k + k] > rest[SIZE * best + best] ? k : best));
      left.delete(next);
      const pivot = rest[SIZE * next + next];
      if (!(pivot > DEPENDENT * gram[SIZE * next + next])) continue;  // it lies in the span of the vectors before it
      const column = [0, 1, 2, 3].map((k) => rest[SIZE * k + next]);
      for (let i = 0; i < SIZE; i++)
        for (let j = 0; j < SIZE; j++) rest[SIZE * i + j] -= (column[i] * column[j]) / pivot;
    }
    return rest;
  }

  /** Whether vectors with these overlaps exist, up to rounding: whether the matrix is positive semi-definite. */
  function exists(gram) {
    const scale = Math.max(...[0, 1, 2, 3].map((k) => gram[SIZE * k + k]));
    if (!gram.every(Number.isFinite) || !(scale > 0)) return false;
    return remainders(gram, [0, 1, 2, 3]).every((x) => Math.abs(x) <= ROUNDING * scale);
  }

  /**
   * The interval [low, high] of one overlap in which the matrix is positive semi-definite, if all other overlaps stay.
   *
   * Project a and b on the span of the other vectors. Let p be the overlap of the projections, and s_a, s_b the self-overlaps
   * of what remains. Then (a.b / N - p)^2 <= s_a s_b. A self-overlap is at least its p.
   */
  function interval(gram, label) {
    const [row, column] = place(label);
    const rest = remainders(gram, [0, 1, 2, 3].filter((k) => k !== row && k !== column));
    const p = gram[SIZE * row + column] - rest[SIZE * row + column];
    if (row === column) return [Math.max(p, 0), Infinity];
    const reach = Math.sqrt(Math.max(rest[SIZE * row + row], 0) * Math.max(rest[SIZE * column + column], 0));
    return [p - reach, p + reach];
  }

  return {
    VISIBLE, INVISIBLE, LABELS,
    gramOf, valueOf, filterTask, impulseResponse, lossAndSlopes, learn, learnInTurn, exists, interval,
  };
})();
