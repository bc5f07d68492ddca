// The field where messages are written. A message stays in it until the server has received it.

import { byId, showWords } from "./dom.js";
import { Attaching } from "./attaching.js";
import { CommandMenu } from "./commandmenu.js";
import { grow } from "./growing.js";
import { FRESH } from "./outbox.js";
import { keep, kept } from "./storage.js";

const SLOW_MS = 700;

export class Composer {
  /**
   * @param {{person: string, commands: {name: string, help: string, argument: string}[], recording: object | null}} me
   * @param {import("./outbox.js").Outbox} outbox
   * @param {import("./uploads.js").Uploads} uploads
   * @param {{stop: () => void, fresh: () => void, editLast: () => boolean, sent: () => void}} on
   */
  constructor(me, outbox, uploads, on) {
    this.person = me.person;
    this.outbox = outbox;
    this.on = on;
    this.key = null;
    this.slow = 0;
    /** Whether Enter was pressed once more while a message was on its way. */
    this.next = false;
    this.area = byId("text");
    this.sendButton = byId("send");
    this.stopButton = byId("stop");
    this.fit = grow(this.area);
    this.attaching = new Attaching(uploads, me.recording, {
      changed: () => this.show(),
      problem: (words) => showWords(byId("composer-state"), words),
      place: () => ({ key: this.key, conversation: this.key === FRESH ? null : this.key }),
      sent: () => on.sent(),
    });
    this.menu = new CommandMenu(this.area, byId("commands"), me.commands, () => this.changed());
    this.area.addEventListener("input", () => this.changed());
    this.area.addEventListener("keydown", (event) => this.pressed(event));
    byId("composer").addEventListener("submit", (event) => this.submit(event));
    this.stopButton.addEventListener("click", () => on.stop());
  }

  /** Show what was being written in this conversation. */
  open(key) {
    this.key = key;
    this.area.value = this.outbox.of(key)?.text ?? kept(this.draftName) ?? "";
    this.menu.close();
    this.show();
  }

  /** The conversation that was not made yet is made: what was typed meanwhile goes along. */
  made(from, to) {
    if (this.key !== from) return;
    keep(this.draftName, null);
    this.key = to;
    keep(this.draftName, this.area.value);
    this.show();
  }

  get draftName() {
    return `draft.${this.person}.${this.key}`;
  }

  /** Whether an answer is being made that can be stopped. */
  setBusy(busy) {
    this.stopButton.hidden = !busy;
  }

  /** Put a text into the field. */
  write(text) {
    this.area.value = text;
    this.changed();
    this.area.focus();
  }

  changed() {
    keep(this.draftName, this.area.value);
    showWords(byId("composer-state"), "");
    this.menu.update();
    this.show();
  }

  pressed(event) {
    if (event.isComposing || this.menu.pressed(event)) return;
    const touch = matchMedia("(pointer: coarse)").matches; // a phone's keyboard has no Shift+Enter, but there is a button
    if (event.key === "Enter" && !event.shiftKey && !touch) this.submit(event);
    else if (event.key === "ArrowUp" && !this.area.value && this.on.editLast()) event.preventDefault();
  }

  submit(event) {
    event.preventDefault();
    if (this.outbox.of(this.key)) {
      if (this.area.readOnly) this.outbox.takeBack(this.key);
      else this.next = true; // once the one before it is received
      return;
    }
    if (this.attaching.onTheWay(this.key)) {
      if (!this.attaching.takeBack(this.key)) this.next = true;
      return;
    }
    const text = this.area.value.trim();
    if (!text && !this.attaching.any) return;
    this.menu.close();
    if (this.attaching.any) {
      this.write("");
      this.attaching.send(text);
      return;
    }
    if (text === "/new" || text === "/stop") {
      this.write("");
      if (text === "/new") this.on.fresh();
      else this.on.stop();
      return;
    }
    this.outbox.put(this.key, text);
    this.on.sent();
    clearTimeout(this.slow);
    this.slow = setTimeout(() => this.show(), SLOW_MS);
    this.show();
  }

  /** The server has it: what was typed after it stays. */
  received(key, text) {
    const now = key === this.key ? this.area.value : (kept(`draft.${this.person}.${key}`) ?? "");
    const start = now.trimStart();
    const rest = start.startsWith(text) ? start.slice(text.length).trimStart() : now;
    keep(`draft.${this.person}.${key}`, rest);
    if (key !== this.key) return;
    this.area.value = rest;
    this.show();
    if (this.next && rest) byId("composer").requestSubmit();
    this.next = false;
  }

  /** The server does not want it: the words stay, with the reason. */
  refused(key, words) {
    if (key !== this.key) return;
    this.show();
    showWords(byId("composer-state"), words);
  }

  /** A file is received: what was to follow it is sent. */
  brought() {
    this.show();
    if (this.next && !this.attaching.onTheWay(this.key)) {
      this.next = false;
      byId("composer").requestSubmit();
    }
  }

  /** A file that was not received comes back, with the text that was to go with it. */
  giveBack(key, { file, text }, words) {
    const draft = `draft.${this.person}.${key}`;
    const now = key === this.key ? this.area.value : (kept(draft) ?? "");
    if (text) keep(draft, [text, now].filter(Boolean).join("\n"));
    if (key !== this.key) return;
    if (text) this.area.value = kept(draft);
    this.attaching.files.add([file]);
    showWords(byId("composer-state"), words);
  }

  /** Show how things stand; called when the outbox has changed. */
  show() {
    const waiting = this.outbox.of(this.key);
    const held = Boolean(waiting?.tries || this.attaching.onTheWay(this.key)?.tries);
    this.area.readOnly = Boolean(waiting?.tries);
    if (waiting?.tries) showWords(byId("composer-state"), "No connection. This is sent as soon as Hearth answers again.");
    else if (this.wasHeld) showWords(byId("composer-state"), "");
    this.wasHeld = held;
    const bringing = this.attaching.words(this.key);
    if (bringing) showWords(byId("composer-state"), bringing);
    else if (this.wasBringing && !held) showWords(byId("composer-state"), "");
    this.wasBringing = Boolean(bringing);
    this.sendButton.disabled = !held && (Boolean(waiting) || !(this.area.value.trim() || this.attaching.any));
    this.sendButton.setAttribute("aria-label", held ? "Take the message back" : "Send");
    this.sendButton.querySelector("use").setAttribute("href", held ? "#i-close" : "#i-send");
    this.fit();
  }
}
