// Questions before something is removed.

import { byId } from "./dom.js";

/**
 * Ask before something that cannot be taken back.
 * @param {{title: string, words: string, yes: string, typed?: string}} question `typed`: what must be written to go on
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, words, yes, typed }) {
  const dialog = byId("confirm");
  const button = byId("confirm-yes");
  const input = byId("confirm-typed");
  byId("confirm-title").textContent = title;
  byId("confirm-words").textContent = words;
  button.textContent = yes;
  byId("confirm-field").hidden = !typed;
  byId("confirm-label").textContent = typed ? `Write "${typed}" to go on` : "";
  input.value = "";
  const check = () => {
    button.disabled = Boolean(typed) && input.value.trim().toLowerCase() !== typed.toLowerCase();
  };
  input.oninput = check;
  check();
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Let the buttons for it, and a click beside a dialog, close it; call once. */
export function startDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    for (const button of dialog.querySelectorAll("[data-close]"))
      button.addEventListener("click", () => dialog.close("no"));
    dialog.addEventListener("pointerdown", (event) => {
      const box = dialog.getBoundingClientRect();
      const inside =
        event.clientX >= box.left &&
        event.clientX <= box.right &&
        event.clientY >= box.top &&
        event.clientY <= box.bottom;
      if (event.target === dialog && !inside) dialog.close("no");
    });
  }
}
