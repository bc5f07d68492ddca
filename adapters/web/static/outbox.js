// Messages on their way. Each keeps its event id until the server has said that it is committed: a repeat is harmless
// there, so a message is neither lost nor doubled, whatever breaks in between, a reload of the page included.

import { ask, conversationPath, eventId, Unreachable } from "./api.js";
import { keep, kept } from "./storage.js";

const FIRST_MS = 1_000;
const LONGEST_MS = 15_000;

/** Where a message to a conversation that is not made yet waits. */
export const FRESH = "new";

export class Outbox {
  /**
   * @param {string} person
   * @param {{changed: (key: string) => void, received: (key: string, message: object) => void, refused: (key: string, words: string) => void}} on
   */
  constructor(person, on) {
    this.name = `outbox.${person}`;
    this.on = on;
    /** Conversation (or FRESH) -> {event, text, conversation, made, tries}; one at a time for each. */
    this.messages = new Map(Object.entries(kept(this.name) ?? {}));
    this.timers = new Map();
  }

  /** Go on with what an earlier page could not send. */
  resume() {
    for (const key of this.messages.keys()) this.attempt(key);
  }

  /** What waits for this conversation. */
  of(key) {
    return this.messages.get(key) ?? null;
  }

  /** Send a text until it is received. */
  put(key, text) {
    // The id of a conversation that is not made yet is chosen here: whoever makes it, and however often, it is the same.
    const [conversation, made] = key === FRESH ? [eventId(), false] : [key, true];
    this.messages.set(key, { event: eventId(), text, conversation, made, tries: 0 });
    this.save(key);
    this.attempt(key);
  }

  /** Give up a message that is not received as far as anybody knows. */
  takeBack(key) {
    this.drop(key);
    this.on.changed(key);
  }

  /** The connection is back: do not wait any longer. */
  hurry() {
    for (const key of [...this.timers.keys()]) this.attempt(key);
  }

  async attempt(key) {
    clearTimeout(this.timers.get(key));
    this.timers.delete(key);
    const message = this.messages.get(key);
    if (!message || message.flying) return;
    message.flying = true;
    try {
      await this.post(message);
    } catch (error) {
      message.flying = false;
      if (this.messages.get(key) === message) this.failed(key, message, error);
      return;
    }
    if (this.messages.get(key) === message) this.drop(key);
    this.on.received(key, message);
  }

  async post(message) {
    if (!message.made) await ask("POST", "/api/conversations", { id: message.conversation });
    message.made = true;
    await ask("POST", conversationPath(message.conversation, "/messages"), {
      event: message.event,
      text: message.text,
    });
  }

  failed(key, message, error) {
    if (!(error instanceof Unreachable)) {
      this.drop(key);
      this.on.refused(key, error.message);
      return;
    }
    message.tries += 1;
    const pause = Math.min(LONGEST_MS, FIRST_MS * 2 ** (message.tries - 1));
    this.timers.set(
      key,
      setTimeout(() => this.attempt(key), pause),
    );
    this.on.changed(key);
  }

  drop(key) {
    clearTimeout(this.timers.get(key));
    this.timers.delete(key);
    const gone = this.messages.get(key);
    this.messages.delete(key);
    this.save(key, gone);
  }

  /** Write down what waits under this key, or that `gone` is. All pages of this browser keep theirs in the same place. */
  save(key, gone) {
    const all = kept(this.name) ?? {};
    const message = this.messages.get(key);
    if (message) {
      const { event, text, conversation, made } = message;
      all[key] = { event, text, conversation, made, tries: 0 };
    } else if (all[key]?.event === gone?.event) delete all[key];
    keep(this.name, Object.keys(all).length ? all : null);
  }
}
