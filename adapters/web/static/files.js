// Files that go with the next message: chosen, dropped on the conversation or pasted. They stand above the field as chips.

import { byId, el, icon, iconButton } from "./dom.js";
import { sizeWords } from "./format.js";

/** As the server has it (adapters/web/uploads.py). */
const LARGEST = 25 * 2 ** 20;
const MOST = 10;

export class Files {
  /** @param {{changed: () => void, problem: (words: string) => void}} on */
  constructor(on) {
    this.on = on;
    this.files = [];
    this.list = byId("attached");
    const chooser = byId("chooser");
    byId("attach").addEventListener("click", () => chooser.click());
    chooser.addEventListener("change", () => {
      this.add(chooser.files);
      chooser.value = ""; // the same file can be chosen again
    });
    this.listen(byId("view-chat"));
    byId("text").addEventListener("paste", (event) => {
      if (!event.clipboardData?.files.length) return;
      event.preventDefault();
      this.add(event.clipboardData.files);
    });
  }

  listen(area) {
    const mark = (on) => area.classList.toggle("dropping", on);
    area.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      mark(true);
    });
    area.addEventListener("dragleave", (event) => {
      if (!area.contains(event.relatedTarget)) mark(false);
    });
    area.addEventListener("drop", (event) => {
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      mark(false);
      this.add(event.dataTransfer.files);
    });
  }

  add(files) {
    for (const file of files) {
      if (file.size > LARGEST) this.on.problem(`${file.name}: larger than ${LARGEST / 2 ** 20} MiB`);
      else if (!file.size) this.on.problem(`${file.name}: the file is empty`);
      else if (this.files.length >= MOST) this.on.problem(`At most ${MOST} files at once.`);
      else this.files.push(file);
    }
    this.show();
    byId("text").focus();
  }

  /** The files, which are no longer here. */
  take() {
    const { files } = this;
    this.files = [];
    this.show();
    return files;
  }

  show() {
    this.list.hidden = !this.files.length;
    this.list.replaceChildren(
      ...this.files.map((file, index) =>
        el(
          "li",
          { class: "attached" },
          icon(/^(audio|video)\//.test(file.type) ? "mic" : "file"),
          el("span", { class: "attached-name" }, file.name),
          el("span", { class: "attached-size" }, sizeWords(file.size)),
          iconButton("close", `Leave ${file.name} out`, () => this.remove(index)),
        ),
      ),
    );
    this.on.changed();
  }

  remove(index) {
    this.files.splice(index, 1);
    this.show();
    byId("text").focus();
  }
}
