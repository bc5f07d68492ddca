// What a person has used and left here: usage, how long messages are kept, the export, and being forgotten.

import { ask } from "./api.js";
import { byId, el, showWords } from "./dom.js";
import { announce } from "./announce.js";
import { confirmed } from "./dialogs.js";
import { number, plural } from "./format.js";
import { modelLabel } from "./models.js";
import { forgetKept } from "./storage.js";
import { figuresOf, section } from "./tables.js";
import { usageOf } from "./chart.js";

const TYPED = "forget me";

/** Fetch and show the page for a person, `me`. Raises Refused or Unreachable. */
export async function showData(me) {
  const [usage, privacy] = await Promise.all([ask("GET", "/api/usage"), ask("GET", "/api/privacy")]);
  byId("view-data").replaceChildren(
    figures(usage),
    section("Usage by day", ...usageOf(usage, (name) => modelLabel(me, name))),
    section("How long messages are kept", retention(privacy)),
    section(
      "Everything of yours",
      el("p", {}, "All your conversations, settings and counters in one JSON file."),
      el(
        "p",
        { class: "buttons" },
        el("a", { class: "button", href: "/api/export", download: "hearth-export.json" }, "Export everything"),
      ),
    ),
    section(
      "Forget me",
      el(
        "p",
        {},
        "Removes every conversation, message, setting and counter of yours from this Hearth, at once and for good.",
      ),
      el(
        "p",
        { class: "buttons" },
        el("button", { class: "button danger", type: "button", onclick: forget }, "Forget me …"),
      ),
    ),
  );
}

function figures(usage) {
  const sum = (field) => number(usage.reduce((total, row) => total + row[field], 0));
  return figuresOf([
    ["Answers", sum("messages")],
    ["Tokens read", sum("prompt_tokens")],
    ["From the cache", sum("cached_tokens")],
    ["Tokens written", sum("completion_tokens")],
  ]);
}

/** The form for the days; what a conversation has set for itself goes first. */
function retention({ days }) {
  const input = el("input", {
    id: "my-retention",
    type: "number",
    min: "0",
    "aria-describedby": "my-retention-words",
    inputmode: "numeric",
    value: days ?? "",
  });
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const words =
    "In days; 0 keeps nothing once the answer is there. It holds for all your conversations here. Everything is in a database on the machine of this Hearth's owner.";
  const save = async (event) => {
    event.preventDefault();
    try {
      await ask("POST", "/api/privacy", { days: input.value === "" ? null : Number(input.value) });
      showWords(problem, "");
      announce("Saved.");
      button.textContent = "Saved";
    } catch (error) {
      showWords(problem, error.message);
    }
  };
  const button = el("button", { class: "button", type: "submit" }, "Save");
  input.addEventListener("input", () => {
    button.textContent = "Save";
  });
  const field = el(
    "div",
    { class: "field" },
    el("label", { for: "my-retention" }, "Keep my messages for"),
    el("span", { class: "with-unit" }, input, " days"),
    el("small", { id: "my-retention-words" }, words),
  );
  return el("form", { onsubmit: save }, field, problem, el("div", { class: "buttons" }, button));
}

async function forget() {
  const sure = await confirmed({
    title: "Forget me?",
    words: "Everything of yours is removed from this Hearth, also what waits for an answer. Nobody can bring it back.",
    yes: "Forget me",
    typed: TYPED,
  });
  if (!sure) return;
  const gone = await ask("POST", "/api/forget-me");
  forgetKept();
  byId("view-data").replaceChildren(
    section(
      "Forgotten",
      el("p", { role: "status" }, `${plural(gone.messages, "message")} and everything else of yours is removed.`),
      el("p", { class: "buttons" }, el("a", { class: "button", href: "#/" }, "Begin anew")),
    ),
  );
}
