// What the configuration says of models and personas.

import { modelName } from "./format.js";

/** The embedded model's name, without the digest of its weights. */
const DEMO = "hearth-demo-chat";

/**
 * The model and persona that answer with these settings.
 * @param {object} me as /api/me tells it
 * @param {{model?: string | null, persona?: string | null}} settings
 * @returns {{alias: string, name: string, persona: string, demo: boolean}}
 */
export function modelInUse(me, settings) {
  const persona = settings.persona || me.defaults.persona;
  const own = me.personas.find(({ name }) => name === persona)?.model;
  const alias = settings.model || own || me.defaults.model;
  const model = me.models.find((one) => one.alias === alias);
  const name = modelName(model?.name) || alias;
  return { alias, name, persona, demo: name.startsWith(DEMO) };
}
