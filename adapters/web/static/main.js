// Puts the page together: the only module that knows every part.

import { ask, Unreachable } from "./api.js";
import { themeEntries } from "./appearance.js";
import { showConnection, showProblem } from "./banner.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { ConversationList } from "./conversations.js";
import { showData } from "./data.js";
import { startDialogs } from "./dialogs.js";
import { byId, el } from "./dom.js";
import { closeDrawer, openDrawer, startDrawer } from "./drawer.js";
import { Events } from "./events.js";
import { openMenu, startMenus } from "./menus.js";
import { FRESH, Outbox } from "./outbox.js";
import { showOwner } from "./owner.js";
import { Search } from "./search.js";
import { Settings } from "./settings.js";
import { showShortcuts, startShortcuts } from "./shortcuts.js";
import { forgetKept } from "./storage.js";
import { Uploads } from "./uploads.js";

const AGAIN_MS = 2_000;
const VIEWS = { chat: "view-chat", data: "view-data", owner: "view-owner" };

class Page {
  constructor(me) {
    this.me = me;
    this.outbox = new Outbox(me.person, {
      changed: (key) => key === this.chat.key && this.composer.show(),
      received: (key, message) => this.received(key, message),
      refused: (key, words) => this.composer.refused(key, words),
    });
    this.uploads = new Uploads({
      make: (id) => ask("POST", "/api/conversations", { id }),
      changed: () => this.composer.show(),
      received: (key, message) => this.brought(key, message),
      refused: (key, message, words) => this.composer.giveBack(key, message, words),
    });
    this.composer = new Composer(me, this.outbox, this.uploads, {
      stop: () => this.chat.stop(),
      fresh: () => this.fresh(),
      editLast: () => this.chat.messages.editLast(),
      sent: () => this.chat.scroll.toEnd(),
    });
    this.list = new ConversationList({
      problem: showProblem,
      removed: (id) => id === this.chat.key && this.fresh(),
      settings: (id) => this.openSettings(id),
    });
    this.settings = new Settings(me);
    this.search = new Search(this.list);
    this.chat = new Chat(me, { composer: this.composer, list: this.list });
    this.events = new Events({
      opened: () => this.opened(),
      lost: () => showConnection("The connection to Hearth is lost. Trying again …"),
      state: (state) => this.chat.take(state),
      changed: ({ conversation }) => this.changed(conversation),
    });
  }

  start() {
    this.showPerson();
    startMenus();
    startDialogs();
    startDrawer();
    startShortcuts({
      search: () => this.goSearch(),
      fresh: () => this.fresh(),
      stop: () => this.chat.stop(),
      escape: () => closeDrawer(),
    });
    byId("conversation-menu").addEventListener("click", (event) => this.list.menu(event.currentTarget, this.chat.key));
    byId("model-chip").addEventListener("click", () => this.openSettings(this.chat.key));
    byId("new").addEventListener("click", () => byId("text").focus());
    byId("person").addEventListener("click", (event) => openMenu(event.currentTarget, this.personEntries()));
    addEventListener("hashchange", () => this.route());
    this.route();
    this.events.now();
    this.outbox.resume();
    byId("app").dataset.ready = "yes";
  }

  /** Show what the address names: #/ (new), #/c/ID, #/c/ID/MESSAGE, #/data or #/owner. */
  async route() {
    const [, view, id, message] = location.hash.split("/");
    const name = view === "data" || (view === "owner" && this.me.admin) ? view : "chat";
    for (const [other, element] of Object.entries(VIEWS)) byId(element).hidden = other !== name;
    if (name === "chat") {
      const number = Number(message);
      await this.chat.open(view === "c" && id ? decoded(id) : null, message && Number.isInteger(number) ? number : null);
      return;
    }
    this.chat.draw();
    this.list.select(null);
    byId("title").textContent = name === "data" ? "Usage and privacy" : "Owner's view";
    document.title = `${byId("title").textContent} · Hearth`;
    for (const id of ["model-chip", "conversation-menu"]) byId(id).hidden = true;
    byId("view-" + name).focus({ preventScroll: true });
    await (name === "data" ? showData(this.me) : showOwner(this.me)).catch(showProblem);
  }

  /** The stream is open, for the first time or again: fetch what may have been missed. */
  async opened() {
    showConnection("");
    this.outbox.hurry();
    this.uploads.hurry();
    await Promise.all([this.refreshList(), this.chat.refresh()]);
  }

  async changed(conversation) {
    const known = Boolean(this.list.find(conversation));
    await this.refreshList();
    if (conversation !== this.chat.key || this.list.removing === conversation) return;
    if (known && !this.list.find(conversation)) this.chat.gone();
    else await this.chat.refresh();
  }

  async refreshList() {
    try {
      await this.list.refresh();
      if (!byId("view-chat").hidden) this.chat.drawBar();
    } catch (error) {
      if (!(error instanceof Unreachable)) showProblem(error);
    }
  }

  async received(key, message) {
    this.composer.received(key, message.text);
    await this.chat.received(key, message);
    await this.refreshList();
  }

  async brought(key, message) {
    if (key === FRESH && this.chat.key === FRESH) this.uploads.made(FRESH, message.conversation);
    const { name, size } = message.file;
    await this.chat.received(key, { ...message, attachments: [{ name, size, kind: message.kind }] });
    this.composer.brought();
    await this.refreshList();
  }

  fresh() {
    if (location.hash === "#/" || !location.hash) this.route();
    else location.hash = "#/";
    closeDrawer();
    byId("text").focus();
  }

  goSearch() {
    openDrawer();
    this.search.focus();
  }

  async openSettings(key) {
    const saved = (id) => {
      if (key === FRESH) location.hash = `#/c/${id}`;
      else this.changed(id);
    };
    await this.settings.open(key === FRESH ? null : key, saved).catch(showProblem);
  }

  showPerson() {
    byId("person-name").textContent = this.me.person;
    byId("avatar").textContent = [...this.me.person][0] ?? "";
  }

  personEntries() {
    const owner = this.me.admin ? [{ label: "Owner's view", icon: "chart", href: "#/owner" }] : [];
    const leave = this.me.login ? [null, { label: "Log out", icon: "leave", run: () => this.leave() }] : [];
    return [
      { label: "Usage and privacy", icon: "lock", href: "#/data" },
      ...owner,
      { label: "Keyboard", icon: "keyboard", run: showShortcuts },
      null,
      ...themeEntries(),
      ...leave,
    ];
  }

  async leave() {
    await ask("POST", "/logout").catch(showProblem);
    forgetKept();
    location.assign("/login");
  }
}

/** A part of the address as it is meant; as it stands if it cannot be read, which names nothing that there is. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Ask who is there until the server answers, then begin. */
async function begin() {
  try {
    new Page(await ask("GET", "/api/me")).start();
  } catch (error) {
    if (!(error instanceof Unreachable)) {
      byId("banner").hidden = false;
      byId("banner").replaceChildren(el("span", {}, error.message));
      return;
    }
    showConnection("Hearth does not answer. Trying again …");
    setTimeout(begin, AGAIN_MS);
  }
}

begin();
