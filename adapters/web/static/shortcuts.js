// Keys that work anywhere on the page, and the dialog that lists them.

import { byId, el } from "./dom.js";

const MAC = navigator.platform.startsWith("Mac");
const COMMAND = MAC ? "⌘" : "Ctrl";

const LISTED = [
  [[COMMAND, "K"], "search all conversations"],
  [[COMMAND, "Shift", "O"], "a new conversation"],
  [[COMMAND, "."], "stop the answer"],
  [["Enter"], "send the message"],
  [["Shift", "Enter"], "a new line"],
  [["/"], "commands, at the beginning of a message"],
  [["↑"], "in an empty message field: edit the last question"],
  [["Esc"], "close what is open"],
  [["?"], "this list"],
];

/** Show the list. */
export function showShortcuts() {
  byId("keys").replaceChildren(
    ...LISTED.flatMap(([keys, words]) => [el("dt", {}, ...keysOf(keys)), el("dd", {}, words)]),
  );
  byId("shortcuts").showModal();
}

function keysOf(keys) {
  return keys.flatMap((key, index) => (index ? [" ", el("kbd", {}, key)] : [el("kbd", {}, key)]));
}

/**
 * Listen for the keys; call once.
 * @param {{search: () => void, fresh: () => void, stop: () => void, escape: () => void}} on
 */
export function startShortcuts(on) {
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const run = actionOf(event, on);
    // What Escape closes by itself, a menu or a dialog, it does only if nobody prevents it.
    if (run && event.key !== "Escape") event.preventDefault();
    run?.();
  });
}

function actionOf(event, on) {
  const command = MAC ? event.metaKey : event.ctrlKey;
  const key = event.key.toLowerCase();
  if (command && !event.altKey) {
    if (key === "k" && !event.shiftKey) return on.search;
    if (key === "o" && event.shiftKey) return on.fresh;
    return key === "." ? on.stop : null;
  }
  if (key === "escape") return on.escape;
  return key === "?" && !isTyping(event.target) ? showShortcuts : null;
}

function isTyping(target) {
  return target.matches("input, textarea, select, [contenteditable]");
}
