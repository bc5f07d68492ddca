// What stands where no message is yet: a greeting, and the truth about the model that answers.

import { byId, el, iconButton } from "./dom.js";
import { copy } from "./clipboard.js";
import { modelInUse } from "./models.js";

/** One of those that the README names, for 8 GB of memory. */
const PULL = "models pull Qwen/Qwen3-4B-GGUF Qwen3-4B-Q4_K_M.gguf --use";
/** What the embedded model was taught. */
const DEMO_CAN = ["My name is Ada.", "What is the capital of France?", "Count to ten.", "What are you?"];

/**
 * Show or hide it.
 * @param {object} me as /api/me tells it
 * @param {import("./conversation.js").OpenConversation | null} conversation
 * @param {boolean} empty
 * @param {(text: string) => void} write puts a text into the composer
 */
export function showEmpty(me, conversation, empty, write) {
  const place = byId("empty");
  const model = modelInUse(me, conversation?.settings ?? {});
  const shows = empty ? `${conversation?.missing} ${model.alias}` : "";
  place.hidden = !empty;
  if (place.dataset.shows === shows) return;
  place.dataset.shows = shows;
  if (!empty) place.replaceChildren();
  else if (conversation?.missing) place.replaceChildren(...gone());
  else place.replaceChildren(...greeting(model, `${me.program} ${PULL}`, write));
}

function gone() {
  return [
    el("h2", {}, "This conversation is gone"),
    el("p", {}, "It was deleted, or its time to be kept was over."),
    el("a", { class: "button", href: "#/" }, "Begin a new one"),
  ];
}

function greeting(model, pull, write) {
  const head = [
    el("img", { src: "/static/icon.svg", alt: "", width: "64", height: "64" }),
    el("h2", {}, "What shall we talk about?"),
  ];
  if (!model.demo)
    return [
      ...head,
      el(
        "p",
        {},
        `${model.label} answers here${model.leavesMachine ? ", on another machine: what you write goes there" : ""}. Your conversations are kept in this Hearth's own database.`,
      ),
    ];
  const button = iconButton("copy", "Copy the command", () => copy(pull, button));
  return [
    ...head,
    el(
      "p",
      {},
      "A small demo answers here: about three million parameters, trained for this project. It holds small talk and remembers your name; it knows next to nothing.",
    ),
    el(
      "div",
      { class: "suggestions" },
      ...DEMO_CAN.map((text) => el("button", { class: "button", type: "button", onclick: () => write(text) }, text)),
    ),
    el("p", {}, "For real answers give Hearth a real model, then start it again:"),
    el("div", { class: "command" }, el("code", { tabindex: "0" }, pull), button),
  ];
}
