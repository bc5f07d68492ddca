// The list of commands over the composer: it opens with a "/", and completes what is typed.

import { el } from "./dom.js";
import { announce } from "./announce.js";

export class CommandMenu {
  /**
   * @param {HTMLTextAreaElement} area
   * @param {HTMLUListElement} list
   * @param {{name: string, help: string, argument: string}[]} commands
   * @param {() => void} completed called when the text was changed
   */
  constructor(area, list, commands, completed) {
    this.area = area;
    this.list = list;
    this.commands = commands;
    this.completed = completed;
    this.chosen = 0;
    this.found = [];
    area.setAttribute("aria-autocomplete", "list");
    area.setAttribute("aria-controls", list.id);
    area.addEventListener("blur", () => this.close());
  }

  /** Open or close for the present text. */
  update() {
    const typed = /^\/([a-z]*)$/.exec(this.area.value);
    const found = typed ? this.commands.filter((command) => command.name.startsWith(typed[1])) : [];
    if (found.length && !this.found.length) announce(`${found.length} commands. The arrow keys choose, Tab completes.`);
    this.found = found;
    this.chosen = 0;
    this.show();
  }

  /** Handle a key; says whether it was for this menu. */
  pressed(event) {
    if (!this.found.length) return false;
    const { key } = event;
    if (key === "Enter" && (event.shiftKey || this.area.value === `/${this.found[this.chosen].name}`)) return false;
    if (key === "ArrowDown") this.choose(this.chosen + 1);
    else if (key === "ArrowUp") this.choose(this.chosen - 1);
    else if (key === "Tab" || key === "Enter") this.complete(this.found[this.chosen]);
    else if (key === "Escape") this.close();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  choose(index) {
    this.chosen = (index + this.found.length) % this.found.length;
    this.show();
  }

  complete(command) {
    this.area.value = `/${command.name}${command.argument ? " " : ""}`;
    this.close();
    this.completed();
    if (!command.argument) this.close();
  }

  /** Hide the list. */
  close() {
    this.found = [];
    this.show();
  }

  show() {
    this.list.hidden = !this.found.length;
    this.list.replaceChildren(...this.found.map((command, index) => this.entry(command, index)));
    const chosen = this.list.children[this.chosen];
    chosen?.scrollIntoView({ block: "nearest" });
    if (chosen) this.area.setAttribute("aria-activedescendant", chosen.id);
    else this.area.removeAttribute("aria-activedescendant");
  }

  entry(command, index) {
    const words = [
      el("b", {}, `/${command.name}${command.argument ? ` ${command.argument}` : ""}`),
      el("span", {}, command.help),
    ];
    // pointerdown, so that the text field does not lose the focus first
    const onpointerdown = (event) => {
      event.preventDefault();
      this.complete(command);
    };
    return el(
      "li",
      {
        id: `command-${command.name}`,
        role: "option",
        tabindex: "-1",
        "aria-selected": index === this.chosen ? "true" : "false",
        onpointerdown,
      },
      ...words,
    );
  }
}
