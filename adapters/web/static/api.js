// Requests to the server: JSON in, JSON out, and two kinds of failure.

const PATIENCE_MS = 30_000;
const FILE_PATIENCE_MS = 300_000;
const LONGEST_HEADER = 7_000;
const GATEWAYS = new Set([502, 503, 504]);
/** From here on the numbers are those of a proxy that does not reach Hearth; Hearth itself has none of them. */
const NOBODY = 520;

/** The server has answered and says no, in words for a person. */
export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

/** Nobody answers now: the network, a restart, a proxy without a server. Asking again later may help. */
export class Unreachable extends Error {
  constructor() {
    super("Hearth cannot be reached.");
  }
}

/**
 * Ask the server.
 * @param {"GET" | "POST" | "PATCH" | "DELETE"} method
 * @param {string} path
 * @param {object} [body]
 * @returns {Promise<any>} raises Refused or Unreachable; goes to the login page where the session has ended
 */
export async function ask(method, path, body) {
  if (method === "GET") return send(path, { method, signal: AbortSignal.timeout(PATIENCE_MS) });
  return send(path, {
    method,
    headers: { "Content-Type": "application/json", "X-Hearth": "page" }, // no other site's form can send the second
    body: JSON.stringify(body ?? {}),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
}

/**
 * Send a file.
 * @param {string} path
 * @param {File} file
 * @param {object} message what else is to be said of it; raises what `ask` does
 */
export async function bring(path, file, message) {
  const told = encodeURIComponent(JSON.stringify(message)); // headers hold ASCII only
  if (told.length > LONGEST_HEADER) throw new Refused(413, "The text with it is too long: please send it by itself.");
  return send(path, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream", "X-Hearth": "page", "X-Hearth-Message": told },
    body: file,
    signal: AbortSignal.timeout(FILE_PATIENCE_MS),
  });
}

async function send(path, how) {
  const headers = { Accept: "application/json", ...how.headers };
  const options = { ...how, headers, credentials: "same-origin", cache: "no-store" };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Unreachable();
  }
  if (response.ok) return whole(response);
  if (response.status === 401) location.assign("/login");
  if (GATEWAYS.has(response.status) || response.status >= NOBODY) throw new Unreachable();
  throw new Refused(response.status, (await read(response))?.error ?? `Hearth answered ${response.status}.`);
}

/** What the server has answered. If that broke off it is as if nobody had: what was asked can be asked again. */
async function whole(response) {
  try {
    return await response.json();
  } catch {
    throw new Unreachable();
  }
}

async function read(response) {
  try {
    return await response.json();
  } catch {
    return null;
  }
}

/** The path of a conversation, or of something in it. */
export function conversationPath(id, rest = "") {
  return `/api/conversations/${encodeURIComponent(id)}${rest}`;
}

/** A random id that makes a repeated request harmless. */
export function eventId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID is missing over plain http
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
