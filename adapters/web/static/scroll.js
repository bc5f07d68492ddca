// Where the conversation stands on the screen: at its end while it grows, unless the reader has gone up.

import { byId } from "./dom.js";

const NEAR_PX = 60;
const JUMPED_MS = 2_600;

export class Scroll {
  constructor() {
    this.box = byId("scroller");
    this.button = byId("latest");
    /** Whether the view follows the end. */
    this.pinned = true;
    this.box.addEventListener("scroll", () => this.moved(), { passive: true });
    this.button.addEventListener("click", () => this.toEnd());
    // Also when the composer grows, or a font has come.
    new ResizeObserver(() => this.follow()).observe(this.box);
    new ResizeObserver(() => this.follow()).observe(this.box.firstElementChild);
  }

  moved() {
    this.pinned = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR_PX;
    this.button.hidden = this.pinned;
  }

  follow() {
    if (this.pinned) this.box.scrollTop = this.box.scrollHeight;
    else this.moved();
  }

  /** Change what is shown, and stay at the end if the view was there. */
  keep(change) {
    const { pinned } = this;
    change();
    this.pinned = pinned;
    this.follow();
  }

  /** Put something before what is shown; what the reader looks at stays in its place. */
  async keepPlace(change) {
    const below = this.box.scrollHeight - this.box.scrollTop;
    this.pinned = false;
    await change();
    this.box.scrollTop = this.box.scrollHeight - below;
  }

  /** To the latest message. */
  toEnd() {
    this.pinned = true;
    this.follow();
    this.button.hidden = true;
  }

  /** To a row, and show which one it is. */
  jump(row) {
    this.pinned = false;
    row.scrollIntoView({ block: "center" });
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.classList.add("jumped");
    setTimeout(() => row.classList.remove("jumped"), JUMPED_MS);
    this.moved();
  }
}
