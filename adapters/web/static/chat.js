// The chat view: the open conversation, its bar, its place on the screen, and what is done in it.

import { ask, conversationPath, eventId, Unreachable } from "./api.js";
import { announce } from "./announce.js";
import { showProblem } from "./banner.js";
import { byId } from "./dom.js";
import { OpenConversation } from "./conversation.js";
import { nameOf } from "./conversations.js";
import { showEmpty } from "./empty.js";
import { MessageList } from "./messages.js";
import { FRESH } from "./outbox.js";
import { rowsOf } from "./rows.js";
import { Scroll } from "./scroll.js";
import { modelInUse, modelLabel } from "./models.js";

export class Chat {
  /**
   * @param {object} me as /api/me tells it
   * @param {{composer: import("./composer.js").Composer, list: import("./conversations.js").ConversationList}} parts
   */
  constructor(me, { composer, list }) {
    this.me = me;
    this.composer = composer;
    this.list = list;
    this.conversation = null;
    this.announced = new Set();
    this.drawn = 0;
    this.scroll = new Scroll();
    this.messages = new MessageList(byId("messages"), (name) => modelLabel(me, name), {
      retry: (node) => this.retry(node),
      choose: (id) => this.choose(id),
      edit: (node, text) => this.edit(node, text),
    });
    byId("earlier").addEventListener("click", () => this.earlier());
  }

  /** The id of what is open; FRESH for a conversation that is not made yet. */
  get key() {
    return this.conversation?.id ?? FRESH;
  }

  /**
   * Open a conversation, or with null the beginning of a new one.
   * @param {string | null} id
   * @param {number | null} [message] where to go in it
   */
  async open(id, message = null) {
    if (id === null || this.conversation?.id !== id) {
      this.conversation?.close();
      this.conversation = id === null ? null : new OpenConversation(id, () => this.later());
      this.messages.clear();
      this.scroll.pinned = true;
      this.list.select(id);
      this.composer.open(this.key);
      this.draw();
    }
    await this.refresh();
    if (message !== null) await this.jump(message);
  }

  /** Fetch the open conversation; what cannot be reached comes with the connection. */
  async refresh() {
    await this.conversation?.refresh().catch((error) => this.problem(error));
  }

  /** The open conversation was deleted, on another page or because its time was over. */
  gone() {
    this.conversation.missing = true;
    this.conversation.loaded = true;
    this.conversation.messages = [];
    this.conversation.live.clear();
    this.conversation.passing.clear();
    this.later();
  }

  /** A state from the stream. */
  take(state) {
    if (state.conversation !== this.conversation?.id) return;
    this.conversation.take(state).catch((error) => this.problem(error));
    const name = `${state.event}/${state.number}`;
    if (!state.final || this.announced.has(name)) return;
    this.announced.add(name);
    this.draw();
    announce(
      `${state.failed ? "Hearth could not answer." : "Hearth:"} ${this.messages.wordsOf(`a-q${state.event}`) || state.text}`,
    );
  }

  /** Draw with the next frame, however many states come until then. */
  later() {
    this.drawn ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.drawn);
    this.drawn = 0;
    const { conversation } = this;
    const rows = conversation ? rowsOf(conversation) : [];
    this.scroll.keep(() => {
      this.messages.show(rows);
      byId("earlier").hidden = !conversation?.more;
      showEmpty(this.me, conversation, rows.length === 0 && (!conversation || conversation.loaded), (text) =>
        this.composer.write(text),
      );
    });
    this.composer.setBusy(Boolean(conversation?.busy));
    this.drawBar();
  }

  drawBar() {
    const { conversation } = this;
    const entry = conversation && this.list.find(conversation.id);
    const title = conversation?.missing
      ? "This conversation is gone"
      : conversation
        ? nameOf({ title: conversation.title, opening: entry?.opening })
        : "New conversation";
    byId("title").textContent = title;
    document.title = conversation ? `${title} · Hearth` : "Hearth";
    byId("conversation-menu").hidden = !conversation || conversation.missing;
    byId("model-chip").hidden = Boolean(conversation?.missing);
    const { persona, label } = modelInUse(this.me, conversation?.settings ?? {});
    byId("model-name").textContent = persona === this.me.defaults.persona ? label : `${persona} · ${label}`;
    byId("model-chip").setAttribute("aria-label", `Settings. Model: ${label}, persona: ${persona}`);
  }

  /** A message of the composer was received. */
  async received(key, { event, text, conversation, attachments }) {
    if (key === FRESH && this.key === FRESH) {
      history.replaceState(null, "", `#/c/${conversation}`);
      this.conversation = new OpenConversation(conversation, () => this.later());
      this.composer.made(FRESH, conversation);
      this.list.select(conversation);
    }
    if (this.conversation?.id === conversation) this.conversation.received(event, text, undefined, attachments);
    await this.refresh();
  }

  async retry(node) {
    this.scroll.pinned = true;
    await this.act("/retry", { event: eventId(), message: node.id });
  }

  async choose(message) {
    await this.act("/choose", { message });
    this.draw();
    this.messages.focusBranches(message);
  }

  /** Stop the answer. */
  async stop() {
    if (this.conversation?.busy) await this.act("/stop", { event: eventId() });
  }

  async act(what, body) {
    try {
      await ask("POST", conversationPath(this.conversation.id, what), body);
    } catch (error) {
      this.problem(error);
    }
    await this.refresh();
  }

  /** Ask an edited question in another branch; says whether it was received. */
  async edit(node, text) {
    const { conversation } = this;
    // The same words again are the same event: whether the first try got through is not known.
    if (this.edited?.node !== node.id || this.edited.text !== text)
      this.edited = { node: node.id, text, event: eventId() };
    const { event } = this.edited;
    try {
      if (conversation.growing) await ask("POST", conversationPath(conversation.id, "/stop"), { event: eventId() });
      await ask("POST", conversationPath(conversation.id, "/messages"), { event, text, follows: node.parent ?? 0 });
    } catch (error) {
      this.problem(error);
      return false;
    }
    this.edited = null;
    this.scroll.pinned = true;
    conversation.received(event, text, node.parent ?? 0);
    this.refresh();
    return true;
  }

  async earlier() {
    await this.scroll.keepPlace(async () => {
      await this.conversation.earlier().catch((error) => this.problem(error));
      this.draw();
    });
  }

  /** Go to a message: on this line, further back, or on another branch. */
  async jump(id) {
    const { conversation } = this;
    const inLine = () => conversation.messages.some((node) => node.id === id);
    try {
      while (!inLine() && conversation.more) await conversation.earlier();
      if (!inLine()) await ask("POST", conversationPath(conversation.id, "/choose"), { message: id });
      if (!inLine()) await conversation.refresh();
    } catch (error) {
      this.problem(error);
    }
    if (this.conversation !== conversation) return;
    this.draw();
    const row = this.messages.find(id);
    if (row) this.scroll.jump(row);
  }

  problem(error) {
    if (!(error instanceof Unreachable)) showProblem(error);
    else if (!byId("banner").textContent) showProblem(error);
  }
}
