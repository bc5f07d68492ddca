// Copying, with a sign that it was done.

import { icon } from "./dom.js";
import { announce } from "./announce.js";

const SIGN_MS = 1600;

/**
 * Put a text on the clipboard and show on the button that it is there.
 * @param {string} text
 * @param {HTMLButtonElement} button its icon becomes a check mark for a moment
 * @param {HTMLElement} [label] says so in words, if there is one
 */
export async function copy(text, button, label) {
  const done = await toClipboard(text);
  announce(done ? "Copied." : "The browser does not let this page copy.");
  const was = button.querySelector("svg");
  const sign = icon(done ? "check" : "warning");
  const words = label?.textContent;
  was.replaceWith(sign);
  if (label) label.textContent = done ? "Copied" : "Not copied";
  setTimeout(() => {
    sign.replaceWith(was);
    if (label) label.textContent = words;
  }, SIGN_MS);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return byCommand(text); // over plain http from another machine there is no navigator.clipboard
  }
}

function byCommand(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "sr";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
