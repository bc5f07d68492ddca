// Tables and figures of the pages beside the conversation.

import { el } from "./dom.js";

/**
 * A table in a frame that scrolls sideways where it must.
 * @param {string} caption its name for screen readers
 * @param {{name: string, number?: boolean}[]} columns
 * @param {(string | Node)[][]} rows the first cell of each is the row's heading
 */
export function tableOf(caption, columns, rows) {
  const kind = (index) => (columns[index].number ? "number" : null);
  const head = el(
    "tr",
    {},
    ...columns.map((column, index) => el("th", { scope: "col", class: kind(index) }, column.name)),
  );
  const cells = (row) =>
    row.map((cell, index) => (index ? el("td", { class: kind(index) }, cell) : el("th", { scope: "row" }, cell)));
  const body = el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells(row))));
  return el(
    "div",
    { class: "rows", role: "group", "aria-label": caption, tabindex: "0" },
    el("table", {}, el("caption", { class: "sr" }, caption), el("thead", {}, head), body),
  );
}

/** Large figures with their names. */
export function figuresOf(figures) {
  return el(
    "dl",
    { class: "figures" },
    ...figures.map(([name, value, unit]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value, ...(unit ? [" ", el("small", {}, unit)] : []))),
    ),
  );
}

/** A section with a heading. */
export function section(title, ...children) {
  return el("section", {}, el("h2", {}, title), ...children);
}
