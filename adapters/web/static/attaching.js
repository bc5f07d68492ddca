// What the message field has beside text: files that go with it, the microphone, and how they are on their way.

import { byId } from "./dom.js";
import { Files } from "./files.js";
import { clock } from "./format.js";
import { canRecord, Recorder } from "./recorder.js";

export class Attaching {
  /**
   * @param {import("./uploads.js").Uploads} uploads
   * @param {{seconds: number, bytes: number} | null} recording the limits of one; null where nothing hears them
   * @param {{changed: () => void, problem: (words: string) => void, place: () => {key: string, conversation: string | null}, sent: () => void}} on
   */
  constructor(uploads, recording, on) {
    this.uploads = uploads;
    this.on = on;
    this.files = new Files({ changed: () => on.changed(), problem: (words) => on.problem(words) });
    this.recorder = new Recorder(recording ?? { seconds: 0, bytes: 0 }, {
      tick: (seconds) => {
        byId("recording-clock").textContent = clock(seconds);
      },
      ended: (file) => this.recorded(file),
    });
    this.mic = byId("record");
    this.drop = byId("record-drop");
    this.mic.hidden = !recording || !canRecord();
    this.mic.addEventListener("click", () => (this.recorder.running ? this.recorder.stop() : this.record()));
    this.drop.addEventListener("click", () => this.recorder.cancel());
  }

  /** Whether there is something to be sent. */
  get any() {
    return this.files.files.length > 0;
  }

  /** Send the files, the text with the last one, so that the others are known when it is answered. */
  send(text) {
    const { key, conversation } = this.on.place();
    const files = this.files.take();
    files.forEach((file, index) =>
      this.uploads.put(key, conversation, file, { text: index === files.length - 1 ? text : "" }),
    );
    this.on.sent();
  }

  async record() {
    this.show(true);
    this.place = this.on.place();
    try {
      await this.recorder.start();
    } catch (error) {
      this.show(false);
      this.on.problem(error.message);
    }
  }

  recorded(file) {
    this.show(false);
    if (!file) return;
    const { key, conversation } = this.place; // where it was begun
    this.uploads.put(key, conversation, file, { kind: "voice" });
    this.on.sent();
  }

  show(recording) {
    byId("composer").classList.toggle("recording", recording);
    this.mic.setAttribute("aria-label", recording ? "Send the recording" : "Record a voice message");
    this.mic.querySelector("use").setAttribute("href", recording ? "#i-send" : "#i-mic");
    this.drop.hidden = !recording;
    byId("recording-state").hidden = !recording;
    byId("recording-clock").textContent = clock(0);
    this.on.changed();
    if (!recording) byId("text").focus();
  }

  /** The file that is on its way from this conversation, or null. */
  onTheWay(key) {
    return this.uploads.of(key);
  }

  /** Give up a file that cannot be sent; says whether there was one. */
  takeBack(key) {
    if (!this.uploads.of(key)?.tries) return false;
    for (const { file } of this.uploads.takeBack(key)) this.files.add([file]);
    return true;
  }

  /** How what is on its way stands, in words; nothing where nothing is. */
  words(key) {
    const message = this.uploads.of(key);
    if (!message) return "";
    return message.tries
      ? "No connection. The file is sent as soon as Hearth answers again."
      : `Sending ${message.file.name} …`;
  }
}
