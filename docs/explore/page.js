/* The page: sliders and buttons change the state, and each change draws everything anew. */
"use strict";

(function () {
  const { VISIBLE, INVISIBLE, impulseResponse, valueOf } = overlapTheory;
  const { DT, HORIZON, STEPS, RATES, LEARNING_RATES, START, bounds, limits, move, randomTwin, equalTwin } = explorerState;
  const VECTORS = { m: "input", u: "recurrence", v: "recurrence", z: "readout" };
  const LEAST_LOSS = 1e-12, MOST_OVERLAP = 8, LEARNED = 0.01;
  const NAMES = ["network", "twin"], COLORS = ["var(--network)", "var(--twin)"], DASHES = ["", "7 4"], PRIMES = ["", "\u2032"];
  const CHARTS = {
    response: "Chart of the output after an input pulse, before and after learning, with the target",
    loss: "Chart of the loss over the steps of learning",
    seen: "Chart of the visible overlaps over the steps of learning",
    unseen: "Chart of the invisible overlaps over the steps of learning",
  };
  const element = (id) => document.getElementById(id);
  const sliders = [];
  let state = START, address = null, waiting = 0, drawing = false;

  const shown = (value) => value.toFixed(2).replace("-", "\u2212");
  const brief = (value) => {
    const size = Math.abs(value), exponential = size > 0 && (size < 1e-3 || size >= 1e4);
    return (exponential ? value.toExponential(1) : String(Number(value.toPrecision(3)))).replaceAll("-", "\u2212");
  };

  /** A slider in the fieldset `parent`. `read` gives its value, `change` the state after it was moved. */
  function addSlider(parent, id, label, note, color, [low, high, step], read, change, format, range) {
    const row = document.createElement("div");
    row.className = "slider";
    row.id = `${id}-row`;
    const swatch = color ? `<i class="swatch" style="color:${color}"></i>` : "";
    const described = range ? `aria-describedby="${id}-range"` : "";
    row.innerHTML = `<label for="${id}">${swatch}${label} <span>${note}</span></label><output for="${id}"></output>
<input type="range" id="${id}" min="${low}" max="${high}" step="${step}" ${described}>
${range ? `<small id="${id}-range"></small>` : ""}`;
    parent.append(row);
    const [input, output] = [row.querySelector("input"), row.querySelector("output")], small = row.querySelector("small");
    if (color) input.style.setProperty("--color", color);
    input.addEventListener("input", () => set(change(Number(input.value))));
    sliders.push(() => {
      input.value = read();
      output.textContent = format(read());
      input.setAttribute("aria-valuetext", output.textContent);
      if (!range) return;
      const [least, most] = range();
      small.textContent = `can be ${shown(least)} to ${shown(most)}`;
      input.style.setProperty("--low", (least - low) / (high - low));
      input.style.setProperty("--high", (most - low) / (high - low));
    });
  }

  function addOverlap(parent, who, label) {
    const [a, b] = label, note = a === b ? `length of ${a}, squared` : `${VECTORS[a]} ${a}, ${VECTORS[b]} ${b}`;
    addSlider(element(parent), `${parent}-${label}`, label, note, `var(--${label})`, [...bounds(label), 0.01],
      () => state[who][label], (value) => move(state, who, label, value), shown, () => limits(state, who, label));
  }

  function addChoice(id, label, list, name) {
    addSlider(element("task"), id, label, "", "", [0, list.length - 1, 1], () => list.indexOf(state[name]),
      (index) => ({ ...state, [name]: list[index] }), (index) => String(list[index]));
  }

  function set(next) {
    state = next;
    sliders.forEach((refresh) => refresh());
    element("in-turn").setAttribute("aria-pressed", String(state.inTurn));
    element("other-rate-row").hidden = !state.inTurn;
    if (!drawing) requestAnimationFrame(draw);
    drawing = true;
  }

  /** One curve for all tasks in turn. A task starts where the one before it ended, so that this point is left out. */
  const joined = (runs, of) => runs.reduce((curve, run) => {
    const longer = new Float64Array(curve.length + of(run).length - 1);
    longer.set(curve);
    longer.set(of(run).subarray(1), curve.length);
    return longer;
  }, of(runs[0]).subarray(0, 1));
  const rms = (a, b) => Math.sqrt(a.reduce((sum, x, k) => sum + (x - b[k]) ** 2, 0) / a.length);
  const apart = (a, b) => Math.sqrt(INVISIBLE.reduce((sum, label) => sum + (valueOf(a, label) - valueOf(b, label)) ** 2, 0));

  function extremes(curves) {
    let low = Infinity, high = -Infinity;
    for (const curve of curves) for (const y of curve) [low, high] = [Math.min(low, y), Math.max(high, y)];
    return [low, high];
  }

  function range(curves, most) {
    const [least, greatest] = extremes(curves), low = Math.max(least, -most), high = Math.min(greatest, most);
    const margin = 0.06 * (high - low || 1);
    return [low - margin, high + margin];
  }

  function drawResponses(solved, finals) {
    const task = solved[0].tasks[0];
    const before = impulseResponse(solved[0].start, task);
    const series = [
      { y: task.target, color: "var(--ink)", dash: "1.5 4", width: 3 },
      { y: before, color: "var(--before)", dash: "", width: 2.5 },
    ];
    finals.forEach((y, index) => { if (y) series.push({ y, color: COLORS[index], dash: DASHES[index], width: 2 }); });
    explorerCharts.draw(element("response"), {
      series: series.map((line) => ({ label: "", ...line })), spacing: DT, end: HORIZON, bands: [], log: false,
      xLabel: "time", yLabel: "output", yRange: range(series.map((line) => line.y), MOST_OVERLAP),
    });
  }

  function drawCourses(solved, bands) {
    const end = solved[0].tasks.length * STEPS;
    const losses = solved.map(({ runs }) => joined(runs, (run) => run.loss));
    const start = Math.max(...losses.map((curve) => curve[0]));
    const shownLoss = (loss) => Math.min(Math.max(loss, LEAST_LOSS), 100 * start);
    const [least, most] = extremes(losses.map((curve) => curve.map(shownLoss)));
    explorerCharts.draw(element("loss"), {
      series: losses.map((y, index) => ({ y, color: COLORS[index], dash: DASHES[index], width: 2, label: "" })),
      spacing: 1, bands, end, log: true, xLabel: "gradient step", yLabel: "loss",
      yRange: [least / 1.5, 1.5 * most],
    });
    for (const [id, labels] of [["seen", VISIBLE], ["unseen", INVISIBLE]]) {
      const series = solved.flatMap(({ runs }, index) => labels.map((label) => {
        const y = joined(runs, (run) => run.overlaps[label]);
        const same = index && Math.abs(y.at(-1) - joined(solved[0].runs, (run) => run.overlaps[label]).at(-1)) < 1e-3;
        return { y, color: `var(--${label})`, dash: DASHES[index], width: 2, label: same ? "" : label + PRIMES[index] };
      }));
      explorerCharts.draw(element(id), {
        series, spacing: 1, bands, end, log: false, xLabel: "gradient step", yLabel: "overlap",
        yRange: range(series.map((line) => line.y), MOST_OVERLAP),
      });
    }
  }

  function tell(solved, finals) {
    const names = state.inTurn ? ["A", "B", "A again"] : ["the task"];
    const columns = ["network", "loss before", ...names.map((name) => `after ${name}`), "down to 1 % at step"];
    element("head").innerHTML = `<tr>${columns.map((name) => `<th scope="col">${name}</th>`).join("")}</tr>`;
    element("rows").innerHTML = solved.map(({ runs }, index) => {
      const loss = runs[0].loss, learned = loss.findIndex((one) => one < LEARNED * loss[0]);
      const after = names.map((_, phase) => (runs[phase]?.diverged === null ? brief(runs[phase].loss[STEPS]) : "\u2013"));
      const cells = [brief(loss[0]), ...after, learned < 0 ? "\u2013" : learned];
      return `<tr><th scope="row">${NAMES[index]}</th>${cells.map((one) => `<td>${one}</td>`).join("")}</tr>`;
    }).join("");
    const lost = solved.map(({ runs }) => runs).find((runs) => runs.at(-1).diverged !== null);
    const tellLearned = state.inTurn ? tellTurns : tellTwins;
    element("summary").textContent = lost ? tellLost(lost) : tellLearned(solved, finals);
    for (const [id, what] of Object.entries(CHARTS))
      element(id).setAttribute("aria-label", `${what}. ${element("summary").textContent}`);
  }

  function tellLost(runs) {
    const step = runs.at(-1).diverged + (runs.length - 1) * STEPS;
    return `The learning rate is too large: the numbers become infinite at step ${step}.`;
  }

  function tellTwins(solved, finals) {
    const starts = solved.map(({ start, tasks }) => impulseResponse(start, tasks[0]));
    const first = apart(...solved.map(({ start }) => start)), last = apart(...solved.map(({ runs }) => runs[0].gram));
    return `Before learning, the outputs of network and twin differ by ${brief(rms(...starts))} (root mean square), and their`
      + ` invisible overlaps by ${brief(first)} (Euclidean distance). After learning, the outputs differ by`
      + ` ${brief(rms(...finals))}, and the invisible overlaps by ${brief(last)}.`;
  }

  function tellTurns(solved) {
    return solved.map(({ tasks, runs, controls }, index) => {
      const ends = [runs, controls].map((each) => each.at(-1).gram);
      const outputs = ends.map((gram) => impulseResponse(gram, tasks[0]));
      return `The ${NAMES[index]} after A, B, A and the same network after A, A, A: their outputs differ by`
        + ` ${brief(rms(...outputs))} (root mean square), and their invisible overlaps by ${brief(apart(...ends))}`
        + " (Euclidean distance).";
    }).join(" ") + " Where the outputs are equal and the invisible overlaps are not, the invisible overlaps keep a trace of B.";
  }

  function draw() {
    drawing = false;
    const solved = explorerState.solve(state);
    const finals = solved.map(({ tasks, runs }) => {
      const { gram, diverged } = runs.at(-1);
      return diverged === null ? impulseResponse(gram, tasks[0]) : null;
    });
    drawResponses(solved, finals);
    drawCourses(solved, state.inTurn ? ["A", "B", "A"] : []);
    tell(solved, finals);
    element("code").textContent = explorerState.pythonCode(state);
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      address = `#${explorerState.encode(state)}`;
      history.replaceState(null, "", address);
      element("spoken").textContent = element("summary").textContent;  // for screen readers, once the slider rests
    }, 300);
  }

  async function copy(content, done, otherwise) {
    try {
      await navigator.clipboard.writeText(content);
      element("message").textContent = done;
    } catch {
      element("message").textContent = `The browser does not allow this page to copy. ${otherwise}`;
    }
  }

  function copyCode() {
    element("details").open = true;
    getSelection().selectAllChildren(element("code"));
    copy(explorerState.pythonCode(state), "The Python code is copied.", "The code is selected below: copy it by hand.");
  }

  function copyAddress() {
    const link = `${location.href.split("#")[0]}#${explorerState.encode(state)}`;
    copy(link, "The address is copied.", "The address line of the browser has the address.");
  }

  function load() {
    if (location.hash === address) return;
    const found = location.hash.length > 1 ? explorerState.decode(location.hash) : START;
    element("message").textContent = found ? "" : "The address holds no state that exists, so you see the start.";
    set(found ?? START);
  }

  addChoice("rate", "decay rate of the target", RATES, "rate");
  addChoice("other-rate", "decay rate of the target of B", RATES, "otherRate");
  addChoice("learning-rate", "learning rate", LEARNING_RATES, "learningRate");
  VISIBLE.forEach((label) => addOverlap("visible", "network", label));
  NAMES.forEach((who) => INVISIBLE.forEach((label) => addOverlap(who, who, label)));
  const buttons = {
    "in-turn": () => set({ ...state, inTurn: !state.inTurn }),
    "random-twin": () => set(randomTwin(state, Math.random)),
    "equal-twin": () => set(equalTwin(state)),
    restart: () => set(START),
    copy: copyCode,
    share: copyAddress,
  };
  for (const [id, act] of Object.entries(buttons)) element(id).addEventListener("click", act);
  addEventListener("hashchange", load);
  addEventListener("resize", () => set(state));
  load();
})();
