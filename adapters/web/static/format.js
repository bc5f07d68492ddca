// Numbers and dates as people write them.

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const NUMBER = new Intl.NumberFormat();
const DAY_MS = 86_400_000;

/** 14:05 today, 3 Mar before that. */
export function shortTime(iso) {
  const at = new Date(iso);
  return at.toDateString() === new Date().toDateString() ? TIME.format(at) : DAY.format(at);
}

/** Day and time in full. */
export function fullTime(iso) {
  return FULL.format(new Date(iso));
}

/** A day as in 2026-03-03, shown short; it is a day in UTC. */
export function shortDay(day) {
  return new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" }).format(
    new Date(`${day}T00:00:00Z`),
  );
}

/** 12,345 */
export function number(value) {
  return NUMBER.format(value);
}

/** One word or the other: plural(1, "message") is "1 message". */
export function plural(count, word) {
  return `${number(count)} ${word}${count === 1 ? "" : "s"}`;
}

/** The heading under which a conversation stands in the list. */
export function period(iso) {
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  const days = (midnight - new Date(iso)) / DAY_MS;
  if (days <= 0) return "Today";
  if (days <= 1) return "Yesterday";
  if (days <= 7) return "This week";
  return days <= 31 ? "This month" : "Earlier";
}

/** 12 KiB; nothing for a size that nobody knows. */
export function sizeWords(bytes) {
  if (bytes === null || bytes === undefined) return "";
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1024 ** 2 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}

/** 0:12 */
export function clock(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
