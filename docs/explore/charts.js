/*
 * Line charts as SVG. A chart is
 *
 * - `series`: lines of `y` (an array), `color` (a CSS colour), `dash` (an SVG dash pattern), `width` and `label` ("" for none),
 * - `spacing`: the distance of two points along x, which goes from 0 to `end`,
 * - `xLabel`, `yLabel`: axis labels. `yRange`: the lowest and the highest value to draw. `log`: whether y is logarithmic,
 * - `bands`: names of parts of equal length along x, every second of which is shaded.
 */
"use strict";

var explorerCharts = (function () {
  const LEFT = 46, RIGHT = 14, NAME = 20, TOP = 18, BOTTOM = 34, POINTS = 300, APART = 13;

  /** Round numbers within [low, high], at most `most` of them. */
  function ticks(low, high, most) {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= rough * (1 - 1e-9));
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++)
      found.push(Number((k * step).toPrecision(10)));
    return found;
  }

  const text = (x, y, content, rest) => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${rest}>${content}</text>`;

  /** Heights for labels, moved apart where they would overlap, and kept above `bottom`. */
  function spread(heights, bottom) {
    const order = heights.map((_, index) => index).sort((a, b) => heights[a] - heights[b]);
    const moved = [...heights];
    order.forEach((at, rank) => { if (rank) moved[at] = Math.max(moved[at], moved[order[rank - 1]] + APART); });
    for (let rank = order.length - 1; rank >= 0; rank--) {
      const ceiling = rank === order.length - 1 ? bottom : moved[order[rank + 1]] - APART;
      moved[order[rank]] = Math.min(moved[order[rank]], ceiling);
    }
    return moved;
  }

  function draw(svg, chart) {
    const width = svg.clientWidth || 400, height = svg.clientHeight || 240;
    const named = chart.series.filter((line) => line.label && line.y.length);
    const right = width - RIGHT - (named.length ? NAME : 0), bottom = height - BOTTOM;
    const scale = chart.log ? Math.log10 : (value) => value;
    const [low, high] = chart.yRange.map(scale), end = chart.end;
    const across = (x) => LEFT + ((right - LEFT) * x) / end;
    const down = (y) => bottom - ((bottom - TOP) * (scale(y) - low)) / (high - low);
    const inside = (y) => Math.min(Math.max(Number.isNaN(y) ? height : y, -height), 2 * height);  // log10 of 0 is -Infinity
    const parts = [];

    chart.bands.forEach((name, index) => {
      const from = across((end * index) / chart.bands.length), to = across((end * (index + 1)) / chart.bands.length);
      if (index % 2) parts.push(`<rect class="band" x="${from}" y="${TOP}" width="${to - from}" height="${bottom - TOP}"/>`);
      parts.push(text((from + to) / 2, TOP - 5, name, 'class="band-name" text-anchor="middle"'));
    });
    const room = Math.max(2, Math.floor((bottom - TOP) / 28));
    const heights = ticks(low, high, room);
    const marks = chart.log
      ? heights.filter(Number.isInteger).map((k) => [10 ** k, `10<tspan dy="-4" font-size="9">${k}</tspan>`])
      : heights.map((y) => [y, String(y).replace("-", "\u2212")]);
    for (const [y, name] of marks) {
      const at = down(y);
      parts.push(`<line class="grid" x1="${LEFT}" x2="${right}" y1="${at}" y2="${at}"/>`);
      parts.push(text(LEFT - 5, at + 4, name, 'text-anchor="end"'));
    }
    for (const x of ticks(0, end, Math.max(2, Math.floor((right - LEFT) / 60))))
      parts.push(text(across(x), bottom + 15, x, 'text-anchor="middle"'));
    parts.push(text((LEFT + right) / 2, height - 3, chart.xLabel, 'text-anchor="middle"'));
    parts.push(text(0, 0, chart.yLabel, `text-anchor="middle" transform="translate(11 ${(TOP + bottom) / 2}) rotate(-90)"`));
    parts.push(`<path class="axis" d="M${LEFT} ${TOP}V${bottom}H${right}"/>`);
    const frame = `<rect x="${LEFT}" y="${TOP}" width="${right - LEFT}" height="${bottom - TOP}"/>`;
    parts.push(`<clipPath id="${svg.id}-clip">${frame}</clipPath>`);
    parts.push(`<g clip-path="url(#${svg.id}-clip)">`);
    for (const { y, color, dash, width: stroke } of chart.series) {
      const every = Math.max(1, Math.floor(y.length / POINTS)), last = y.length - 1, points = [];
      const add = (k) => points.push(`${across(k * chart.spacing).toFixed(1)} ${inside(down(y[k])).toFixed(1)}`);
      for (let k = 0; k < last; k += every) add(k);
      if (last >= 0) add(last);
      const style = `style="stroke:${color}" stroke-width="${stroke}" stroke-dasharray="${dash}"`;
      if (points.length) parts.push(`<path class="line" d="M${points.join("L")}" ${style}/>`);
    }
    parts.push("</g>");
    const ends = named.map((line) => Math.min(Math.max(down(line.y[line.y.length - 1]), TOP), bottom));
    spread(ends, bottom).forEach((y, index) => {
      const { label, color } = named[index];
      parts.push(text(right + 4, y + 4, label, `class="name" style="fill:${color}"`));
    });
    svg.innerHTML = parts.join("");
  }

  return { draw };
})();
