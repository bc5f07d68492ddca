// Menus that open from a button: one popover for all, moved with the arrow keys.

import { byId, el, icon } from "./dom.js";

const EDGE = 8;
let opener = null;

/**
 * Open a menu at its button, or close it if it is open there.
 * @param {HTMLElement} button
 * @param {({label: string, icon: string, href?: string, download?: string, checked?: boolean, danger?: boolean, run?: () => void} | null)[]} entries null is a line
 */
export function openMenu(button, entries) {
  const menu = byId("menu");
  if (opener === button) return menu.hidePopover();
  if (opener) menu.hidePopover();
  menu.replaceChildren(...entries.map((entry) => (entry ? entryOf(entry) : el("hr", { role: "separator" }))));
  menu.setAttribute("aria-label", button.getAttribute("aria-label") || button.textContent.trim());
  menu.showPopover();
  opener = button;
  button.setAttribute("aria-expanded", "true");
  place(menu, button.getBoundingClientRect());
  itemsOf(menu)[0].focus();
}

function entryOf(entry) {
  const close = () => {
    const button = opener;
    byId("menu").hidePopover();
    button?.focus();
    entry.run?.();
  };
  const role = entry.checked === undefined ? "menuitem" : "menuitemradio";
  const checked = entry.checked === undefined ? null : String(entry.checked);
  const attributes = {
    role,
    tabindex: "-1",
    "aria-checked": checked,
    class: entry.danger ? "danger" : null,
    onclick: close,
  };
  const words = [icon(entry.icon), el("span", {}, entry.label), ...(entry.checked ? [icon("check")] : [])];
  if (entry.href) return el("a", { ...attributes, href: entry.href, download: entry.download ?? null }, ...words);
  return el("button", { ...attributes, type: "button" }, ...words);
}

/** Below the button, or above it where there is no room; always within the window. */
function place(menu, at) {
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = Math.min(Math.max(EDGE, at.right - width), innerWidth - width - EDGE);
  const below = at.bottom + 4 + height <= innerHeight - EDGE;
  menu.style.left = `${Math.max(EDGE, at.left + width < innerWidth - EDGE ? at.left : left)}px`;
  menu.style.top = `${below ? at.bottom + 4 : Math.max(EDGE, at.top - height - 4)}px`;
}

function itemsOf(menu) {
  return [...menu.querySelectorAll('[role^="menuitem"]')];
}

/** Let the keyboard move in menus; call once. */
export function startMenus() {
  const menu = byId("menu");
  let pressed = null;
  // The button's own click comes after the popover has closed itself: it would open it again.
  addEventListener(
    "pointerdown",
    (event) => {
      pressed = opener?.contains(event.target) ? opener : null;
    },
    true,
  );
  addEventListener(
    "click",
    (event) => {
      if (pressed?.contains(event.target)) {
        event.stopPropagation();
        event.preventDefault();
      }
      pressed = null;
    },
    true,
  );
  menu.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    opener?.setAttribute("aria-expanded", "false");
    opener = null;
  });
  menu.addEventListener("keydown", (event) => {
    const items = itemsOf(menu);
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
    if (event.key === "Tab") menu.hidePopover();
    if (to === undefined) return;
    event.preventDefault();
    items[to % items.length].focus();
  });
}
