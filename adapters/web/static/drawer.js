// The side bar on a phone: a drawer over the page. Where the window is wide it is always there.

import { byId, isNarrow } from "./dom.js";

/** Open the drawer and put the keyboard into it. */
export function openDrawer() {
  if (!isNarrow()) return;
  set(true);
  byId("side-close").focus();
}

/** Close the drawer, if it is open; says whether it was. */
export function closeDrawer() {
  const open = byId("side").classList.contains("open");
  if (!open) return false;
  set(false);
  if (byId("side").contains(document.activeElement) || document.activeElement === document.body)
    byId("side-open").focus();
  return true;
}

function set(open) {
  byId("side").classList.toggle("open", open);
  byId("shade").hidden = !open;
  byId("side-open").setAttribute("aria-expanded", String(open));
  byId("main").inert = open;
}

/** Wire the buttons; call once. */
export function startDrawer() {
  byId("side-open").addEventListener("click", openDrawer);
  byId("side-close").addEventListener("click", closeDrawer);
  byId("shade").addEventListener("click", closeDrawer);
  byId("side").addEventListener("click", (event) => {
    if (event.target.closest("a[href]")) closeDrawer();
  });
  matchMedia("(max-width: 52rem)").addEventListener("change", () => set(false));
}
