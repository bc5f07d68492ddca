// Usage by day: a bar chart in SVG, and the same as a table.

import { el, isNarrow, svg } from "./dom.js";
import { number, shortDay } from "./format.js";
import { tableOf } from "./tables.js";

const WIDE = 720;
const NARROW = 350;
const HEIGHT = 190;
const LEFT = 40;
const BOTTOM = 22;
const TOP = 8;
const DAYS = 30;
const DAY_MS = 86_400_000;
const KINDS = [
  ["written", "completion_tokens", "written"],
  ["read", "fresh", "read"],
  ["cached", "cached_tokens", "read from the cache"],
];

/**
 * What the tokens of the last 30 days were, and a table of all that is known.
 * @param {{day: string, model: string, messages: number, prompt_tokens: number, cached_tokens: number, completion_tokens: number}[]} usage
 * @param {(name: string) => string} labelOf what people call a model
 * @returns {HTMLElement[]}
 */
export function usageOf(usage, labelOf) {
  if (!usage.length) return [el("p", {}, "Nothing yet.")];
  const columns = [
    { name: "Day" },
    { name: "Model" },
    ...["Answers", "Tokens read", "From the cache", "Written"].map((name) => ({ name, number: true })),
  ];
  const rows = usage.map((row) => [
    shortDay(row.day),
    labelOf(row.model),
    ...[row.messages, row.prompt_tokens, row.cached_tokens, row.completion_tokens].map(number),
  ]);
  const table = el("details", {}, el("summary", {}, "As a table"), tableOf("Usage by day and model", columns, rows));
  return [el("div", { class: "chart" }, chartOf(byDay(usage)), legend()), table];
}

/** One entry for each of the last days, also for those without usage. */
function byDay(usage) {
  const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const days = new Map();
  for (let back = DAYS - 1; back >= 0; back -= 1) {
    days.set(new Date(today - back * DAY_MS).toISOString().slice(0, 10), {
      completion_tokens: 0,
      cached_tokens: 0,
      fresh: 0,
    });
  }
  for (const row of usage) {
    const day = days.get(row.day);
    if (!day) continue;
    day.completion_tokens += row.completion_tokens;
    day.cached_tokens += row.cached_tokens;
    day.fresh += row.prompt_tokens - row.cached_tokens;
  }
  return days;
}

function chartOf(days) {
  const sum = (day) => day.completion_tokens + day.cached_tokens + day.fresh;
  const most = ceiling(Math.max(...[...days.values()].map(sum)));
  const scale = (HEIGHT - BOTTOM - TOP) / most;
  const width = isNarrow() ? NARROW : WIDE;
  const step = (width - LEFT) / days.size;
  const parts = [0, most / 2, most].flatMap((value) => gridLine(value, HEIGHT - BOTTOM - value * scale, width));
  [...days].forEach(([name, day], index) => {
    const x = LEFT + index * step;
    let y = HEIGHT - BOTTOM;
    for (const [kind, field] of KINDS) {
      const height = day[field] * scale;
      y -= height;
      if (height) parts.push(svg("rect", { class: kind, x: x + step * 0.15, y, width: step * 0.7, height }));
    }
    if (index % 7 === days.size % 7)
      parts.push(svg("text", { x: x + step / 2, y: HEIGHT - 6, "text-anchor": "middle" }, shortDay(name)));
  });
  const label = `Tokens on each of the last ${days.size} days; the table below has the numbers`;
  return svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label }, ...parts);
}

function gridLine(value, y, width) {
  const words = new Intl.NumberFormat(undefined, { notation: "compact" }).format(value);
  return [
    svg("line", { class: "grid", x1: LEFT, x2: width, y1: y, y2: y }),
    svg("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, words),
  ];
}

/** The next round number: 1, 2 or 5 with zeros. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 10)));
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= value);
}

function legend() {
  return el(
    "p",
    { class: "legend" },
    ...KINDS.map(([kind, , words]) => el("span", {}, el("i", { class: kind }), `tokens ${words}`)),
  );
}
