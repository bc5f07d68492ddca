// Words for screen readers: one polite region, told when an answer is done and not with every token.

import { byId } from "./dom.js";

const LONGEST = 1200;

/** Say something to who listens; a long text is cut, for it stands on the page. */
export function announce(words) {
  const region = byId("announce");
  const text = words.length > LONGEST ? `${words.slice(0, LONGEST)} …` : words;
  region.textContent = "";
  // The same words twice are a change only if the region was empty in between.
  setTimeout(() => {
    region.textContent = text;
  }, 50);
}
