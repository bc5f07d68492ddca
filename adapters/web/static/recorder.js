// The microphone: what is said becomes a file. The browser asks the person first, and shows that it listens.

/** Bits of a second: Opus at its best for one voice (RFC 6716, section 2.1.1 has the range). */
const BITS = 48_000;
/** A recording ends so much, or this share, before the server's limits: two clocks differ, and so do two encoders. */
const MARGIN_MS = 5_000;
const MARGIN = 0.1;
/** What browsers write, the better one first; the server knows them all. */
const TYPES = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];

/** Whether this browser can record here: pages that are neither https nor on this machine have no microphone. */
export function canRecord() {
  return Boolean(navigator.mediaDevices?.getUserMedia) && typeof MediaRecorder === "function";
}

/** Milliseconds of the longest recording that the server hears. */
function longest({ seconds, bytes }) {
  const time = seconds * 1000;
  return Math.min(time - Math.min(MARGIN_MS, time * MARGIN), ((bytes * 8_000) / BITS) * (1 - MARGIN));
}

export class Recorder {
  /**
   * @param {{seconds: number, bytes: number}} most what the server takes
   * @param {{tick: (seconds: number) => void, ended: (file: File | null) => void}} on `ended` has null where nothing was recorded
   */
  constructor(most, on) {
    this.longest = longest(most);
    this.on = on;
    this.recorder = null;
    this.starting = false;
  }

  get running() {
    return this.starting || this.recorder !== null;
  }

  /** Begin. Raises an error with words for a person. */
  async start() {
    if (this.running) return;
    this.starting = true;
    this.dropped = false;
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    } catch (error) {
      throw new Error(
        error?.name === "NotFoundError" ? "There is no microphone." : "The browser does not let this page listen.",
      );
    } finally {
      this.starting = false;
    }
    const type = TYPES.find((each) => MediaRecorder.isTypeSupported(each));
    const release = () => stream.getTracks().forEach((track) => track.stop());
    const chunks = [];
    const began = performance.now();
    const recorder = new MediaRecorder(stream, { audioBitsPerSecond: BITS, ...(type && { mimeType: type }) });
    const timer = setInterval(() => this.tick(began), 250);
    recorder.addEventListener("dataavailable", (event) => chunks.push(event.data));
    recorder.addEventListener("stop", () => {
      clearInterval(timer);
      release();
      removeEventListener("beforeunload", stay);
      this.recorder = null;
      this.on.ended(this.dropped || !chunks.length ? null : fileOf(chunks, recorder.mimeType));
    });
    try {
      recorder.start();
    } catch {
      clearInterval(timer);
      release();
      throw new Error("This browser cannot record here.");
    }
    addEventListener("beforeunload", stay);
    this.recorder = recorder;
    if (this.dropped) this.cancel(); // given up while the browser asked
    else this.on.tick(0);
  }

  tick(began) {
    const passed = performance.now() - began;
    if (passed > this.longest) this.stop();
    else this.on.tick(Math.floor(passed / 1000));
  }

  /** End it; the recording follows. */
  stop() {
    if (this.recorder?.state === "recording") this.recorder.stop();
  }

  /** End it, and keep nothing. */
  cancel() {
    this.dropped = true;
    this.stop();
  }
}

/** The browser asks before the page is left: what was recorded would be lost. */
function stay(event) {
  event.preventDefault();
}

function fileOf(chunks, type) {
  const kind = type.split(";")[0] || "audio/webm";
  const suffix = { "audio/ogg": "ogg", "audio/mp4": "m4a" }[kind] ?? "webm";
  return new File(chunks, `voice.${suffix}`, { type: kind });
}
