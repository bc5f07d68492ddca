// Which model answers, as the configuration and a conversation's settings say.

/**
 * The model and persona that answer with these settings.
 * @param {object} me as /api/me tells it
 * @param {{model?: string | null, persona?: string | null}} settings
 * @returns {{alias: string, label: string, persona: string, demo: boolean, leavesMachine: boolean}}
 */
export function modelInUse(me, settings) {
  const persona = settings.persona || me.defaults.persona;
  const own = me.personas.find(({ name }) => name === persona)?.model;
  const alias = settings.model || own || me.defaults.model;
  const model = me.models.find((one) => one.alias === alias);
  return {
    alias,
    label: model?.label ?? alias,
    persona,
    demo: Boolean(model?.demo),
    leavesMachine: Boolean(model?.leaves_machine),
  };
}

/** What a stored answer says of its model: "default@0123456789ab" becomes what people call it. */
export function modelLabel(me, name) {
  const alias = (name || "").split("@")[0];
  return me.models.find((one) => one.alias === alias)?.label ?? alias;
}
