// The stream of what happens, kept up: it comes back by itself after a break, slower each time.

import { ask, Unreachable } from "./api.js";

const FIRST_MS = 500;
const LONGEST_MS = 15_000;
const HIDDEN_MS = 20_000;
/** The server sends something every 15 seconds: after three of them the connection is dead, whatever the browser says. */
const SILENT_MS = 45_000;

/**
 * Follow /api/events. After each opening `opened` is called, so that the page fetches what it missed: the stream brings
 * whole states, not differences, and it is open before anything is fetched, so nothing lies between the two.
 */
export class Events {
  /** @param {{opened: () => void, lost: () => void, state: (state: object) => void, changed: (what: object) => void}} on */
  constructor(on) {
    this.on = on;
    this.source = null;
    this.failures = 0;
    this.timer = 0;
    this.silence = 0;
    addEventListener("online", () => this.now());
    document.addEventListener("visibilitychange", () => this.visibility());
  }

  /** Begin, or begin again at once. */
  now() {
    clearTimeout(this.timer);
    if (this.source || document.hidden) return;
    const source = new EventSource("/api/events");
    this.source = source;
    source.addEventListener("open", () => {
      this.failures = 0;
      this.heard();
      this.on.opened();
    });
    for (const name of ["ping", "state", "changed"]) {
      source.addEventListener(name, (event) => {
        this.heard();
        this.on[name]?.(JSON.parse(event.data));
      });
    }
    source.addEventListener("error", () => this.broken());
  }

  heard() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.broken(), SILENT_MS);
  }

  async broken() {
    this.close();
    this.failures += 1;
    if (this.failures > 1) this.on.lost(); // the first break may be over before anybody reads of it
    clearTimeout(this.timer);
    const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** (this.failures - 1));
    // Not all pages at the same instant after a restart.
    this.timer = setTimeout(() => this.again(), most * (0.5 + Math.random() / 2));
  }

  async again() {
    try {
      await ask("GET", "/api/me"); // an EventSource does not say that the session has ended; this goes to the login page
    } catch (error) {
      if (error instanceof Unreachable) return this.broken();
    }
    this.now();
  }

  /** A page that nobody sees gives its connection back: a browser has six for all pages of one server. */
  visibility() {
    clearTimeout(this.timer);
    if (document.hidden) this.timer = setTimeout(() => this.close(), HIDDEN_MS);
    else this.now();
  }

  close() {
    clearTimeout(this.silence);
    this.source?.close();
    this.source = null;
  }
}
