// What this browser keeps: drafts, a message that is not yet received, the theme. Nothing is kept where that is forbidden.

const PREFIX = "hearth.";

/** A kept value, or null. */
export function kept(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

/** Keep a value; null forgets it. */
export function keep(name, value) {
  try {
    if (value === null || value === "") localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Full or forbidden: the page works without.
  }
}

/** Forget everything but the theme: at a log-out, and when a person is forgotten. */
export function forgetKept() {
  try {
    const names = Object.keys(localStorage).filter((name) => name.startsWith(PREFIX) && name !== `${PREFIX}theme`);
    for (const name of names) localStorage.removeItem(name);
  } catch {
    // There is nothing then.
  }
}
