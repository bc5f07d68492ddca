// The open conversation: what the store has of it, and what is being answered.
//
// Why nothing is missed and nothing doubled: the stream is open before the conversation is fetched, and every state on it
// is whole and numbered (`seq`). What a fetch brings says up to which number it knows: of the states that came while it
// was under way only the later ones are put on top of it. Each answer is in its line or among its states, never in both.

import { ask, conversationPath, Refused } from "./api.js";

/** How the answer to a question stands while it is not there. */
const OPEN = new Set(["pending", "claimed", "streaming"]);

/** Whether these states are an answer; words about a failure belong to a question that may be on another branch. */
function speaks(states) {
  const all = [...states.values()];
  return all.some((state) => !state.notice) && !all.some((state) => state.failed);
}

export class OpenConversation {
  /**
   * @param {string} id
   * @param {(conversation: OpenConversation) => void} changed called after each change
   */
  constructor(id, changed) {
    this.id = id;
    this.title = "";
    this.settings = {};
    this.messages = [];
    this.more = false;
    this.loaded = false;
    this.missing = false;
    /** Event of a question -> number of a platform message -> its state. */
    this.live = new Map();
    /** Questions of this page that the server has, but a fetch has not brought yet; by event. */
    this.sent = new Map();
    /** What those of them that begin a branch follow; by event. The store tells it once they have their place. */
    this.follows = new Map();
    /** Commands with their answers, which are in no line: event -> {question or null, after, states}. */
    this.passing = new Map();
    this.changed = changed;
    this.since = [];
    this.fetching = null;
    this.again = false;
    this.closed = false;
  }

  /** Fetch it (once more after the fetch that is under way). Raises Refused or Unreachable. */
  refresh() {
    if (this.fetching) {
      this.again = true;
      return this.fetching;
    }
    this.fetching = this.fetchAll().finally(() => {
      this.fetching = null;
    });
    return this.fetching;
  }

  async fetchAll() {
    do {
      this.again = false;
      this.since = [];
      const received = [...this.sent.keys()];
      let found;
      try {
        found = await ask("GET", conversationPath(this.id));
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 404) throw error;
        this.missing = true;
        this.loaded = true;
        this.told();
        return;
      }
      this.put(found, received);
    } while (this.again);
  }

  /** Take over what a fetch has brought; the server had `received` these questions before it. */
  put(found, received) {
    this.missing = false;
    const known = new Map([...this.messages, ...this.sent.values()].map((node) => [node.event, node]));
    this.title = found.title;
    this.settings = found.settings;
    this.live = new Map();
    for (const state of [...found.live, ...this.since.filter((state) => state.seq > found.seq)]) this.place(state);
    this.keepEarlier(found);
    for (const node of found.messages) {
      this.sent.delete(node.event);
      if (node.state === "pending") node.follows = this.follows.get(node.event);
    }
    this.keepPassing(known);
    for (const event of received) this.sent.delete(event); // it is in the line, or nothing of it is kept
    this.loaded = true;
    this.told();
  }

  /** Words that are in no line, as the server still has them: a command's. Those that were asked here stay where they were said. */
  keepPassing(known) {
    const inLine = new Set(this.messages.map((node) => node.event));
    const after = this.messages.filter((node) => node.state !== "pending").at(-1)?.id ?? null;
    for (const [event, { question }] of this.passing) {
      // Without its question it was no more than what the server still had.
      if (!question && (inLine.has(event) || !this.live.has(event))) this.passing.delete(event);
    }
    for (const [event, states] of this.live) {
      const earlier = this.passing.get(event);
      const question = earlier?.question ?? known.get(event) ?? null;
      const over = [...states.values()].every((state) => state.final);
      if (!over || inLine.has(event)) continue;
      // A question that was in the line once is on another branch now: a command never is, while it waits apart. Of one
      // that was asked before this page was opened, or on another one, only the answer is known.
      if (question ? question.state !== "pending" : !speaks(states)) continue;
      const place = earlier ? earlier.after : after;
      this.passing.set(event, {
        question: question && { ...question, id: null, siblings: [] },
        after: place,
        states: [...states.values()],
      });
      this.sent.delete(event);
    }
  }

  /** Keep the earlier messages that were fetched before, if the new ones follow them. */
  keepEarlier(found) {
    const first = found.messages[0];
    const index = this.messages.findIndex((node) => first && node.id === first.id);
    const earlier = found.more && index > 0 ? this.messages.slice(0, index) : [];
    this.messages = [...earlier, ...found.messages];
    this.more = earlier.length ? this.more : found.more;
  }

  /** Fetch the messages before those that are here. */
  async earlier() {
    const first = this.messages[0];
    if (!this.more || !first) return;
    const found = await ask("GET", conversationPath(this.id, `?before=${first.id}`));
    if (this.messages[0] !== first) return;
    this.messages = [...found.messages.filter((node) => node.state !== "pending"), ...this.messages];
    this.more = found.more;
    this.told();
  }

  /** A state from the stream. Raises Refused or Unreachable if it had to fetch the rest. */
  async take(state) {
    const first = !this.live.has(state.event) && !state.gone;
    this.since.push(state);
    this.place(state);
    this.told();
    // Its question has got its place in the line by now, which may be another line than before.
    if (first) await this.refresh();
  }

  place(state) {
    const states = this.live.get(state.event) ?? new Map();
    if (state.gone) states.delete(state.number);
    else states.set(state.number, state);
    if (states.size) this.live.set(state.event, states);
    else this.live.delete(state.event);
  }

  /** The server has received this question. */
  received(event, text, follows, attachments = []) {
    if (this.messages.some((node) => node.event === event)) return;
    if (follows !== undefined) this.follows.set(event, follows);
    this.sent.set(event, {
      id: null,
      role: "user",
      event,
      text,
      html: null,
      follows,
      state: "pending",
      siblings: [],
      attachments,
    });
    this.told();
  }

  /** Whether an answer is being written. */
  get growing() {
    return [...this.live.values()].some((states) => [...states.values()].some((state) => !state.final));
  }

  /** Whether something is being answered, or waits for it. */
  get busy() {
    return this.growing || this.sent.size > 0 || this.messages.some((node) => OPEN.has(node.outcome));
  }

  /** Change the title or settings. Raises Refused or Unreachable. */
  async change(fields) {
    await ask("PATCH", conversationPath(this.id), fields);
    await this.refresh();
  }

  told() {
    if (!this.closed) this.changed(this);
  }

  /** Another one is open now. */
  close() {
    this.closed = true;
  }
}
