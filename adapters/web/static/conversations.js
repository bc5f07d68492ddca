// The list of conversations in the side bar: newest first, renamed in place.

import { ask, conversationPath } from "./api.js";
import { byId, el, iconButton } from "./dom.js";
import { confirmed } from "./dialogs.js";
import { openMenu } from "./menus.js";
import { period } from "./format.js";

/** What a conversation is called: its title, or the words it began with. */
export function nameOf(conversation) {
  return conversation.title || conversation.opening || "New conversation";
}

export class ConversationList {
  /** @param {{problem: (error: Error) => void, removed: (id: string) => void, settings: (id: string) => void}} on */
  constructor(on) {
    this.on = on;
    this.nav = byId("list");
    this.all = [];
    this.current = null;
    this.items = new Map();
    this.renaming = null;
    this.removing = null;
    this.fetching = null;
    this.again = false;
  }

  /** Fetch the list; several calls at once are one or two fetches. Raises Unreachable. */
  refresh() {
    this.again = Boolean(this.fetching);
    this.fetching ??= this.fetchAll().finally(() => {
      this.fetching = null;
    });
    return this.fetching;
  }

  async fetchAll() {
    do {
      this.again = false;
      this.all = await ask("GET", "/api/conversations");
      this.show();
    } while (this.again);
  }

  /** Mark the open conversation. */
  select(id) {
    this.current = id;
    this.show();
  }

  /** The entry of a conversation, if it is in the list. */
  find(id) {
    return this.all.find((conversation) => conversation.id === id);
  }

  show() {
    if (this.renaming) return; // the list is shown again when that is done
    const focused = this.nav.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    const groups = new Map();
    for (const conversation of this.all) {
      const name = period(conversation.last_at);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(this.item(conversation));
    }
    const shown = [...groups].flatMap(([name, items]) => [el("h2", {}, name), el("ul", {}, ...items)]);
    this.nav.replaceChildren(
      ...(shown.length ? shown : [el("p", { class: "none" }, "Your conversations will be here.")]),
    );
    if (focused) this.nav.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  /** The entry of a conversation: the same element as long as it shows the same, so that a menu keeps its button. */
  item(conversation) {
    const current = conversation.id === this.current;
    const shows = JSON.stringify([nameOf(conversation), current, conversation.waiting]);
    const known = this.items.get(conversation.id);
    if (known?.shows === shows) return known.item;
    const item = this.newItem(conversation, current);
    this.items.set(conversation.id, { shows, item });
    return item;
  }

  newItem(conversation, current) {
    const { id } = conversation;
    const name = nameOf(conversation);
    const link = el(
      "a",
      {
        href: `#/c/${id}`,
        "aria-current": current ? "page" : null,
        "data-focus": id,
        title: name,
        ondblclick: () => this.rename(id),
      },
      name,
    );
    const working = conversation.waiting
      ? [el("span", { class: "working", role: "img", "aria-label": "is being answered" })]
      : [];
    const menu = iconButton("more", `More about ${name}`, () => this.menu(menu, id), {
      "aria-haspopup": "menu",
      "aria-expanded": "false",
      "data-focus": `menu-${id}`,
    });
    return el("li", { class: current ? "item current" : "item", "data-id": id }, link, ...working, menu);
  }

  /** Open the menu of a conversation at a button. */
  menu(button, id) {
    openMenu(button, [
      { label: "Settings", icon: "sliders", run: () => this.on.settings(id) },
      { label: "Rename", icon: "pencil", run: () => this.rename(id) },
      {
        label: "Export as Markdown",
        icon: "download",
        href: conversationPath(id, "/export?format=markdown"),
        download: "",
      },
      { label: "Export as JSON", icon: "download", href: conversationPath(id, "/export?format=json"), download: "" },
      null,
      { label: "Delete", icon: "trash", danger: true, run: () => this.remove(id) },
    ]);
  }

  /** Put a text field in the entry's place; Enter keeps the new name, Escape the old one. */
  rename(id) {
    const conversation = this.find(id);
    const item = [...this.nav.querySelectorAll(".item")].find((element) => element.dataset.id === id);
    if (!conversation || !item || this.renaming) return;
    const input = el("input", {
      "aria-label": "Name of the conversation",
      maxlength: "200",
      value: nameOf(conversation),
    });
    const done = async (keep) => {
      if (this.renaming !== input) return;
      this.renaming = null;
      const title = input.value.trim();
      const changed = keep && title !== nameOf(conversation);
      if (changed) conversation.title = title;
      this.show();
      if (changed) await ask("PATCH", conversationPath(id), { title }).catch(this.on.problem);
    };
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      done(event.key === "Enter");
      this.nav.querySelector(`[data-focus="${CSS.escape(id)}"]`)?.focus();
    });
    input.addEventListener("blur", () => done(true));
    this.renaming = input;
    this.items.delete(id);
    item.replaceChildren(input);
    input.focus();
    input.select();
  }

  /** Delete a conversation, if the person is sure. */
  async remove(id) {
    const conversation = this.find(id);
    const sure = await confirmed({
      title: "Delete this conversation?",
      words: `"${conversation ? nameOf(conversation) : "It"}" is removed with all its messages, for good.`,
      yes: "Delete",
    });
    if (!sure) return;
    this.removing = id; // the stream tells this page of it too
    try {
      await ask("DELETE", conversationPath(id));
    } catch (error) {
      this.removing = null;
      this.on.problem(error);
      return;
    }
    this.all = this.all.filter((other) => other.id !== id);
    this.show();
    this.on.removed(id);
  }
}
