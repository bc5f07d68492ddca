// The settings of one conversation: persona, model, system prompt, what is shown of recordings, and how long messages are kept.

import { ask, conversationPath } from "./api.js";
import { byId, el, showWords } from "./dom.js";

export class Settings {
  /** @param {object} me as /api/me tells it */
  constructor(me) {
    this.me = me;
    this.dialog = byId("settings");
    this.id = null;
    this.saved = (_id) => {};
    byId("settings-form").addEventListener("submit", (event) => this.save(event));
    byId("set-persona").addEventListener("change", () => this.describe());
    byId("set-model").addEventListener("change", () => this.describe());
    this.fillChoices();
  }

  fillChoices() {
    const { personas, models, defaults } = this.me;
    const usual = (words) => el("option", { value: "" }, `As configured (${words})`);
    byId("set-persona").replaceChildren(
      usual(defaults.persona),
      ...personas.map(({ name }) => el("option", { value: name }, name)),
    );
    const named = ({ alias, label }) => (label === alias ? alias : `${alias}: ${label}`);
    byId("set-model").replaceChildren(
      usual("the persona's"),
      ...models.map((model) => el("option", { value: model.alias }, named(model))),
    );
    const shown = { always: "stands above the answer", asked: "is shown by /transcript", never: "is not shown" };
    byId("set-transcripts").replaceChildren(
      usual(shown[defaults.transcripts]),
      ...Object.entries(shown).map(([value, words]) => el("option", { value }, words)),
    );
    byId("retention-words").textContent =
      `Empty: the usual ${defaults.retention_days} days. 0: nothing is kept once the answer is there.`;
  }

  /**
   * Open the panel.
   * @param {string | null} id the conversation; null for one that saving makes
   * @param {(id: string) => void} saved called when something has changed
   */
  async open(id, saved) {
    this.id = id;
    this.saved = saved;
    const settings = id ? (await ask("GET", conversationPath(id))).settings : {};
    byId("set-persona").value = settings.persona ?? "";
    byId("set-model").value = settings.model ?? "";
    byId("set-system").value = settings.system_prompt ?? "";
    byId("set-retention").value = settings.retention_days ?? "";
    byId("set-transcripts").value = settings.transcripts ?? "";
    showWords(byId("settings-problem"), "");
    this.describe();
    this.dialog.showModal();
  }

  describe() {
    const persona = this.me.personas.find(
      ({ name }) => name === (byId("set-persona").value || this.me.defaults.persona),
    );
    const model = this.me.models.find(({ alias }) => alias === byId("set-model").value);
    showWords(byId("persona-words"), persona?.description);
    showWords(
      byId("model-words"),
      model &&
        [model.description, model.leaves_machine && "What you write goes to another machine."]
          .filter(Boolean)
          .join(". "),
    );
  }

  async save(event) {
    event.preventDefault();
    const days = byId("set-retention").value;
    const fields = {
      persona: byId("set-persona").value || null,
      model: byId("set-model").value || null,
      system_prompt: byId("set-system").value.trim() || null,
      retention_days: days === "" ? null : Number(days),
      transcripts: byId("set-transcripts").value || null,
    };
    try {
      this.id ??= (await ask("POST", "/api/conversations")).id;
      await ask("PATCH", conversationPath(this.id), fields);
    } catch (error) {
      showWords(byId("settings-problem"), error.message);
      return;
    }
    this.dialog.close();
    this.saved(this.id);
  }
}
