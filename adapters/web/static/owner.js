// The owner's view: what runs, what waits, what went wrong, how much is talked where. Counts only, nobody's words.

import { ask } from "./api.js";
import { byId, el, icon } from "./dom.js";
import { announce } from "./announce.js";
import { usageOf } from "./chart.js";
import { fullTime, number } from "./format.js";
import { modelLabel } from "./models.js";
import { figuresOf, section, tableOf } from "./tables.js";

/** Fetch and show the page for an owner, `me`. Raises Refused or Unreachable. */
export async function showOwner(me) {
  const owner = await ask("GET", "/api/owner");
  const findings = el("div", {});
  byId("view-owner").replaceChildren(
    figures(owner),
    section("Models", models(owner.models)),
    section(
      "Adapters",
      tableOf(
        "Adapters",
        [{ name: "Adapter" }, { name: "Account" }, { name: "State" }],
        owner.adapters.map((one) => [one.name, one.account, one.state]),
      ),
    ),
    section("Conversations by platform", platforms(owner.platforms)),
    section("Usage by day", ...usageOf(owner.usage, (name) => modelLabel(me, name))),
    section("Last errors", ...errors(owner.last_errors)),
    section(
      "Check",
      el(
        "p",
        {},
        "Looks at everything that a start needs, as ",
        el("code", {}, "hearth check"),
        " does, and changes nothing.",
      ),
      el("p", { class: "buttons" }, checkButton(findings)),
      findings,
    ),
  );
}

function figures(owner) {
  const total = (field) => owner.platforms.reduce((sum, row) => sum + row[field], 0);
  return figuresOf([
    ["In progress", number(owner.in_progress), owner.in_progress === 1 ? "answer" : "answers"],
    ["In line", number(Object.values(owner.queue).reduce((sum, length) => sum + length, 0)), "for a model"],
    ["Unanswered", number(owner.waiting), owner.waiting === 1 ? "question" : "questions"],
    ["Conversations", number(total("conversations"))],
    ["People", number(total("people"))],
  ]);
}

function models(rows) {
  const columns = [
    { name: "Name" },
    { name: "Model" },
    { name: "State" },
    { name: "Running", number: true },
    { name: "Waiting", number: true },
  ];
  return tableOf(
    "Models",
    columns,
    rows.map((row) => [row.alias, row.label, row.state, number(row.running), number(row.waiting)]),
  );
}

function platforms(rows) {
  if (!rows.length) return el("p", {}, "No conversation yet.");
  const columns = [
    { name: "Platform" },
    { name: "Account" },
    ...["Conversations", "Messages", "People", "Waiting"].map((name) => ({ name, number: true })),
  ];
  return tableOf(
    "Conversations by platform",
    columns,
    rows.map((row) => [
      row.platform,
      row.account,
      ...[row.conversations, row.messages, row.people, row.waiting].map(number),
    ]),
  );
}

function errors(rows) {
  if (!rows.length) return [el("p", {}, "None since this process started.")];
  return [
    tableOf(
      "Last errors",
      [{ name: "When" }, { name: "What" }],
      rows.map((row) => [fullTime(row.at), row.words]),
    ),
  ];
}

function checkButton(findings) {
  const button = el(
    "button",
    { class: "button", type: "button", onclick: () => check(button, findings) },
    icon("check"),
    "Check now",
  );
  return button;
}

async function check(button, findings) {
  button.disabled = true;
  try {
    const rows = await ask("GET", "/api/owner/check");
    const state = (good) => el("span", { class: good ? "good" : "bad" }, good ? "works" : "does not work");
    findings.replaceChildren(
      tableOf(
        "Findings",
        [{ name: "What" }, { name: "State" }, { name: "Seen" }],
        rows.map((row) => [row.what, state(row.good), row.words]),
      ),
    );
    const bad = rows.filter((row) => !row.good).length;
    announce(bad ? `${bad} of ${rows.length} do not work.` : "Everything works.");
  } catch (error) {
    findings.replaceChildren(el("p", { class: "problem", role: "alert" }, error.message));
  }
  button.disabled = false;
}
