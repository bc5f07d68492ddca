// One quiet line above the conversation: that the connection is lost, or why something was not done.

import { byId, showWords } from "./dom.js";

const PROBLEM_MS = 8_000;
let lost = "";
let timer = 0;

/** Say that the connection is lost, or with empty words that it is back. */
export function showConnection(words) {
  lost = words;
  clearTimeout(timer);
  showWords(byId("banner"), words);
}

/** Tell why something was not done, for a while. */
export function showProblem(error) {
  clearTimeout(timer);
  showWords(byId("banner"), error.message);
  timer = setTimeout(() => showWords(byId("banner"), lost), PROBLEM_MS);
}
