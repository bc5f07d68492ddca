// Files on their way, each a message of its own. They wait in memory, not in the browser's storage: a reload forgets them,
// so the page asks before it is left. The event id makes a repeat harmless, as in outbox.js.

import { bring, conversationPath, eventId, Unreachable } from "./api.js";

const FIRST_MS = 1_000;
const LONGEST_MS = 15_000;

export class Uploads {
  /**
   * @param {{make: (id: string) => Promise<void>, changed: () => void, received: (key: string, message: object) => void, refused: (key: string, message: object, words: string) => void}} on
   *   `make` makes a conversation of this id where there is none yet
   */
  constructor(on) {
    this.on = on;
    /** One after the other, so that they are answered in their order. */
    this.waiting = [];
    this.timer = 0;
    addEventListener("beforeunload", (event) => {
      if (this.waiting.length) event.preventDefault();
    });
  }

  /** What is on its way from this conversation, or null. */
  of(key) {
    return this.waiting.find((message) => message.key === key) ?? null;
  }

  /** The conversation that was not made yet is made. */
  made(from, to) {
    for (const message of this.waiting) if (message.key === from) message.key = to;
  }

  /**
   * Send a file until it is received.
   * @param {string} key the conversation on the page
   * @param {string | null} conversation null: one is made
   * @param {File} file
   * @param {{text?: string, kind?: "voice" | "file"}} [how]
   */
  put(key, conversation, file, { text = "", kind = "file" } = {}) {
    this.waiting.push({ key, conversation, file, text, kind, event: eventId(), tries: 0 });
    this.next();
  }

  /** Give up what is not received as far as anybody knows; returns it. */
  takeBack(key) {
    const given = this.waiting.filter((message) => message.key === key);
    this.waiting = this.waiting.filter((message) => message.key !== key);
    this.on.changed();
    return given;
  }

  /** The connection is back: do not wait any longer. */
  hurry() {
    clearTimeout(this.timer);
    this.next();
  }

  async next() {
    const [message] = this.waiting;
    if (!message || message.flying) return;
    message.flying = true;
    this.on.changed();
    try {
      if (!message.conversation) {
        message.fresh ??= eventId(); // the same at each try
        await this.on.make(message.fresh);
        message.conversation = message.fresh;
      }
      await bring(conversationPath(message.conversation, "/files"), message.file, {
        event: message.event,
        text: message.text,
        kind: message.kind,
        name: message.file.name,
        media_type: message.file.type,
      });
    } catch (error) {
      message.flying = false;
      if (this.waiting.includes(message)) this.failed(message, error);
      return;
    }
    this.waiting = this.waiting.filter((other) => other !== message);
    for (const other of this.waiting) if (other.key === message.key) other.conversation ??= message.conversation;
    await this.on.received(message.key, message);
    this.next();
  }

  failed(message, error) {
    if (!(error instanceof Unreachable)) {
      this.waiting = this.waiting.filter((other) => other !== message);
      this.on.refused(message.key, message, `${message.file.name}: ${error.message}`);
      this.next();
      return;
    }
    message.tries += 1;
    this.timer = setTimeout(() => this.next(), Math.min(LONGEST_MS, FIRST_MS * 2 ** (message.tries - 1)));
    this.on.changed();
  }
}
