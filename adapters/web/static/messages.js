// The rows of a conversation as elements. A row's element is made once and changed after that, so nothing flickers.

import { copyOf, el, icon, iconButton, showWords } from "./dom.js";
import { copy } from "./clipboard.js";
import { clock, fullTime, number, shortTime, sizeWords } from "./format.js";
import { showServerHtml } from "./serverhtml.js";
import { QuestionEditor } from "./editor.js";

export class MessageList {
  /**
   * @param {HTMLOListElement} list
   * @param {(name: string) => string} labelOf what people call a model
   * @param {{retry: (node: object) => void, choose: (id: number) => void, edit: (node: object, text: string) => Promise<boolean>}} on
   */
  constructor(list, labelOf, on) {
    this.list = list;
    this.labelOf = labelOf;
    this.on = on;
    this.elements = new Map();
    this.rows = new WeakMap();
    this.editor = null;
  }

  /** Show these rows and no others. */
  show(rows) {
    const keys = new Set(rows.map((row) => row.key));
    for (const [key, element] of this.elements) {
      if (keys.has(key)) continue;
      element.remove();
      this.elements.delete(key);
    }
    let previous = null;
    for (const row of rows) {
      const element = this.elementOf(row);
      const next = previous ? previous.nextElementSibling : this.list.firstElementChild;
      if (next !== element) this.list.insertBefore(element, next);
      this.fill(element, row);
      previous = element;
    }
  }

  /** Forget what is shown: another conversation comes. */
  clear() {
    this.editor?.close();
    this.list.replaceChildren();
    this.elements.clear();
  }

  elementOf(row) {
    let element = this.elements.get(row.key);
    if (!element) {
      element = copyOf(row.kind);
      this.elements.set(row.key, element);
    }
    return element;
  }

  fill(element, row) {
    const same = sameRow(this.rows.get(element), row);
    this.rows.set(element, row);
    if (same) return;
    element.dataset.message = row.node?.id ?? "";
    if (row.kind === "question") this.fillQuestion(element, row.node);
    else this.fillAnswer(element, row);
  }

  fillQuestion(element, node) {
    const bubble = element.querySelector(".bubble");
    if (node.html) showServerHtml(bubble, node.html);
    else bubble.replaceChildren(...node.text.split("\n\n").map((words) => el("p", {}, words)));
    showFiles(element.querySelector(".files"), node.attachments ?? []);
    const tools = [...this.branches(node), copyButton(node.text, "Copy the question")];
    if (node.id && node.outcome !== "pending")
      tools.push(iconButton("pencil", "Edit the question", () => this.edit(element, node), { "data-edit": true }));
    tools.push(meta([node.at && shortTime(node.at)], node.at && fullTime(node.at)));
    putTools(element, tools);
  }

  fillAnswer(element, row) {
    const { node, states } = row;
    const body = element.querySelector(".body");
    const texts = (states ?? []).filter((state) => !state.notice);
    showServerHtml(body, texts.length ? texts.map((state) => state.html).join("") : node && !states ? node.html : "");
    body.hidden = !body.childElementCount;
    body.classList.toggle("streaming", row.waiting && texts.length > 0);
    body.classList.toggle("failed", row.failed && texts.length > 0);
    element.querySelector(".answer").setAttribute("aria-busy", String(row.waiting));
    const notice = element.querySelector(".notice");
    showWords(notice, noticeOf(row, states, texts));
    notice.classList.toggle("working", row.waiting);
    notice.classList.toggle("failed", row.failed && Boolean(row.words));
    showFiles(
      element.querySelector(".files"),
      (states ?? []).flatMap((state) => state.files ?? []),
    );
    putTools(element, this.answerTools(row, texts));
  }

  answerTools(row, texts) {
    const { node, question } = row;
    if (row.waiting) return [];
    if (row.failed || row.silent) return question?.id ? [this.tryAgain(question)] : [];
    const text = texts.length ? texts.map((state) => state.text).join("\n\n") : node?.text;
    const tools = [...(node ? this.branches(node) : [])];
    if (node?.state === "stopped") tools.push(el("span", { class: "lasting" }, "Stopped"));
    if (text) tools.push(copyButton(text, "Copy the answer"));
    if (node) {
      tools.push(iconButton("retry", "Answer again", () => this.on.retry(node)));
      tools.push(meta([this.labelOf(node.model), shortTime(node.at)], tokensOf(node)));
    }
    return tools;
  }

  tryAgain(question) {
    return el(
      "button",
      { class: "button", type: "button", onclick: () => this.on.retry(question) },
      icon("retry"),
      "Try again",
    );
  }

  /** Arrows between the branches that begin here. */
  branches(node) {
    const ids = node.siblings ?? [];
    if (ids.length < 2) return [];
    const at = ids.indexOf(node.id);
    const what = node.role === "user" ? "question" : "answer";
    const step = (name, label, to) =>
      iconButton(name, label, () => this.on.choose(ids[to]), { disabled: ids[to] === undefined });
    const place = el("span", {}, el("span", { class: "sr" }, `Version of the ${what}: `), `${at + 1}/${ids.length}`);
    return [
      el(
        "span",
        { class: "branches", role: "group", "aria-label": `Versions of the ${what}` },
        step("left", `Earlier ${what}`, at - 1),
        place,
        step("right", `Later ${what}`, at + 1),
      ),
    ];
  }

  /** Put an editor in the question's place. */
  edit(element, node) {
    this.editor?.close();
    this.editor = new QuestionEditor(element.querySelector(".message"), node.text, {
      send: (text) => this.on.edit(node, text),
      closed: () => {
        this.editor = null;
        element.querySelector("[data-edit]")?.focus();
      },
    });
  }

  /** Edit the last question that is stored, if there is one. */
  editLast() {
    const button = [...this.list.querySelectorAll("[data-edit]")].at(-1);
    button?.click();
    return Boolean(button);
  }

  /** Put the keyboard on the arrows of a message, if what had it is gone. */
  focusBranches(id) {
    if (document.activeElement !== document.body) return;
    this.find(id)?.querySelector(".branches button:enabled")?.focus({ preventScroll: true });
  }

  /** The words of an answer as they stand on the page. */
  wordsOf(key) {
    return this.elements.get(key)?.querySelector(".body").textContent ?? "";
  }

  /** The element of a stored message, if it is shown. */
  find(id) {
    return [...this.list.children].find((row) => row.dataset.message === String(id));
  }
}

/** Which button of a row had the keyboard, while it is not there: during another try there is none. */
const wanted = new WeakMap();

/** Put a message's buttons; the keyboard stays with the one that had it, or waits for it with the row. */
function putTools(row, tools) {
  const footer = row.querySelector(".tools");
  const { activeElement } = document;
  const here = footer.contains(activeElement) || activeElement === row;
  const label = wanted.get(row) ?? activeElement?.getAttribute("aria-label");
  footer.replaceChildren(...tools);
  wanted.delete(row);
  if (!here) return;
  const buttons = [...footer.querySelectorAll("button:enabled")];
  const same = buttons.find((button) => button.getAttribute("aria-label") === label);
  if (!same) wanted.set(row, label);
  row.tabIndex = -1;
  (same ?? buttons[0] ?? row).focus({ preventScroll: true });
}

/** Whether two rows show the same. A fetch brings equal messages as new objects, a state changes one row alone. */
function sameRow(one, other) {
  if (!one) return false;
  const states = (row) => row.states ?? [];
  const sameStates =
    states(one).length === states(other).length && states(one).every((state, n) => state === states(other)[n]);
  const plain = ["waiting", "failed", "silent", "words"].every((name) => one[name] === other[name]);
  return (
    sameStates &&
    plain &&
    Boolean(one.states) === Boolean(other.states) &&
    sameNode(one.node, other.node) &&
    sameNode(one.question, other.question)
  );
}

function sameNode(one, other) {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}

function noticeOf(row, states, texts) {
  if (row.words) return row.words;
  if (texts.length || !row.waiting) return "";
  return (states ?? []).map((state) => state.text).join(" ") || "Thinking";
}

function copyButton(text, label) {
  const button = iconButton("copy", label, () => copy(text, button));
  return button;
}

function meta(words, title) {
  return el("span", { class: "meta", title: title || null }, words.filter(Boolean).join(" · "));
}

function tokensOf(node) {
  const { prompt, cached, completion } = node.tokens ?? {};
  const tokens = prompt
    ? `\n${number(prompt)} tokens read, ${number(cached)} of them from the cache; ${number(completion)} written`
    : "";
  return `${fullTime(node.at)}\n${node.model || ""}${tokens}`;
}

function showFiles(list, files) {
  list.hidden = !files.length;
  list.replaceChildren(...files.map((file) => el("li", {}, fileOf(file))));
}

function fileOf(file) {
  const heard = file.seconds !== undefined; // what was said in it is the message's text
  const words = heard
    ? [icon("mic"), el("span", {}, file.kind === "voice" ? "Recording" : file.name), el("small", {}, clock(file.seconds))]
    : [icon(file.kind === "voice" ? "mic" : "file"), el("span", {}, file.name), el("small", {}, sizeWords(file.size))];
  return file.url
    ? el("a", { href: file.url, download: file.name }, ...words)
    : el("span", { class: "file" }, ...words);
}

