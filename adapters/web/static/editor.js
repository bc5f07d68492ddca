// The editor that takes a question's place. Sending makes a branch; the old question stays behind an arrow.

import { el } from "./dom.js";
import { grow } from "./growing.js";

export class QuestionEditor {
  /**
   * @param {HTMLElement} message its children are hidden while the editor is there
   * @param {string} text
   * @param {{send: (text: string) => Promise<boolean>, closed: () => void}} on `send` says whether it was received
   */
  constructor(message, text, on) {
    this.on = on;
    this.hidden = [...message.children].filter((child) => !child.hidden);
    for (const child of this.hidden) child.hidden = true;
    this.area = el("textarea", { rows: "2", "aria-label": "Edit the question", onkeydown: (event) => this.key(event) });
    this.area.value = text;
    this.button = el("button", { class: "button primary", type: "submit" }, "Send");
    const cancel = el("button", { class: "button", type: "button", onclick: () => this.close() }, "Cancel");
    const hint = el("small", {}, "The question and answer that are here now stay, behind the arrows.");
    this.form = el(
      "form",
      { class: "editor", onsubmit: (event) => this.submit(event) },
      this.area,
      el("div", { class: "editor-buttons" }, hint, cancel, this.button),
    );
    message.append(this.form);
    grow(this.area);
    this.area.focus();
  }

  key(event) {
    if (event.key === "Escape") {
      event.stopPropagation();
      this.close();
    } else if (
      event.key === "Enter" &&
      !event.shiftKey &&
      !event.isComposing &&
      !matchMedia("(pointer: coarse)").matches
    ) {
      this.submit(event);
    }
  }

  async submit(event) {
    event.preventDefault();
    const text = this.area.value.trim();
    if (!text || this.button.disabled) return;
    this.button.disabled = true;
    const received = await this.on.send(text);
    this.button.disabled = false;
    if (received) this.close();
  }

  /** Show the question again. */
  close() {
    if (!this.form.isConnected) return;
    this.form.remove();
    for (const child of this.hidden) child.hidden = false;
    this.on.closed();
  }
}
