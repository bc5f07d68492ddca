// Search in the names and the words of all conversations. What is found takes the list's place until the field is empty again.

import { ask } from "./api.js";
import { byId, el } from "./dom.js";
import { announce } from "./announce.js";
import { nameOf } from "./conversations.js";
import { plural, shortTime } from "./format.js";

const PAUSE_MS = 180;

export class Search {
  /** @param {import("./conversations.js").ConversationList} list */
  constructor(list) {
    this.list = list;
    this.input = byId("search");
    this.found = byId("found");
    this.timer = 0;
    this.input.addEventListener("input", () => this.later());
    this.input.addEventListener("keydown", (event) => this.pressed(event));
    this.found.addEventListener("keydown", (event) => this.moved(event));
  }

  /** Put the cursor into the field. */
  focus() {
    this.input.focus();
    this.input.select();
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), PAUSE_MS);
  }

  pressed(event) {
    if (event.key === "Escape" && this.input.value) {
      event.stopPropagation();
      this.clear();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      this.found.querySelector("a")?.focus();
    }
  }

  moved(event) {
    const links = [...this.found.querySelectorAll("a")];
    const to = links.indexOf(document.activeElement) + ({ ArrowDown: 1, ArrowUp: -1 }[event.key] ?? 0);
    if (event.key === "Escape") this.focus();
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    (links[to] ?? this.input).focus();
  }

  /** Show the list of conversations again. */
  clear() {
    this.input.value = "";
    this.look();
  }

  async look() {
    const words = this.input.value.trim();
    byId("list").hidden = Boolean(words);
    this.found.hidden = !words;
    if (!words) return;
    let found;
    try {
      found = await ask("GET", `/api/search?q=${encodeURIComponent(words)}`);
    } catch (error) {
      this.found.replaceChildren(el("p", { class: "none" }, error.message));
      return;
    }
    if (words !== this.input.value.trim()) return;
    const named = this.named(words);
    const entries = [...named.map((one) => nameEntry(one, words)), ...found.map((hit) => this.entryOf(hit, words))];
    this.found.replaceChildren(
      entries.length ? el("ul", {}, ...entries) : el("p", { class: "none" }, "Nothing has these words."),
    );
    const counts = [
      [named.length, "conversation"],
      [found.length, "message"],
    ].filter(([count]) => count);
    announce(counts.length ? `${counts.map((one) => plural(...one)).join(" and ")} found.` : "Nothing found.");
  }

  /** The conversations whose name has every word. */
  named(words) {
    const each = folded(words).split(/\s+/);
    return this.list.all.filter((one) => each.every((word) => folded(nameOf(one)).includes(word)));
  }

  entryOf(hit, words) {
    const who = hit.role === "user" ? "You: " : "Hearth: ";
    const name = hit.title || nameOf(this.list.find(hit.conversation) ?? {});
    const head = el("strong", {}, el("span", {}, name), el("time", { datetime: hit.at }, shortTime(hit.at)));
    return el(
      "li",
      {},
      el(
        "a",
        { href: `#/c/${hit.conversation}/${hit.message}` },
        head,
        el("p", {}, who, ...marked(hit.excerpt, words)),
      ),
    );
  }
}

function nameEntry(conversation, words) {
  const time = el("time", { datetime: conversation.last_at }, shortTime(conversation.last_at));
  const head = el("strong", {}, el("span", {}, ...marked(nameOf(conversation), words)), time);
  return el("li", {}, el("a", { href: `#/c/${conversation.id}` }, head));
}

function folded(text) {
  return text.normalize("NFKC").toLowerCase();
}

/** The text with the words that were looked for marked, in any case. */
function marked(text, words) {
  const each = [...new Set(words.split(/\s+/))]
    .filter(Boolean)
    .map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pieces = text.split(new RegExp(`(${each.join("|")})`, "giu"));
  return pieces.map((piece, index) => (index % 2 ? el("mark", {}, piece) : piece));
}
