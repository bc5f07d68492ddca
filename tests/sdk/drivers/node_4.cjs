// The calls of a plan on `openai` from 4.0 on: `node node_4.cjs PLAN RESULTS`, beside that SDK's own node_modules.

"use strict";

const fs = require("node:fs");
const { OpenAI, APIError } = require("openai");

async function asked(resource, args) {
  const answer = await resource.create(args);
  if (!args.stream) return answer;
  const chunks = [];
  for await (const chunk of answer) chunks.push(chunk);
  return chunks;
}

async function made(client, kind, args) {
  switch (kind) {
    case "chat":
      return asked(client.chat.completions, args);
    case "complete":
      return asked(client.completions, args);
    case "embed":
      return asked(client.embeddings, args);
    case "models": {
      const { object, data } = await client.models.list();
      return { object, data };
    }
    case "model":
      return client.models.retrieve(args.model);
    case "transcribe":
      return client.audio.transcriptions.create({ ...args, file: fs.createReadStream(args.file) });
    case "translate":
      return client.audio.translations.create({ ...args, file: fs.createReadStream(args.file) });
    default:
      throw new Error(kind);
  }
}

async function carriedOut(call, plan) {
  const client = new OpenAI({
    baseURL: plan.url,
    apiKey: call.key ?? plan.key,
    organization: call.organization,
    maxRetries: 0,
  });
  try {
    return { answer: await made(client, call.call, call.arguments) };
  } catch (error) {
    if (!(error instanceof APIError)) return { crash: String(error.stack) };
    return { error: { class: error.constructor.name, status: error.status ?? null, ...error.error } };
  }
}

async function main([planFile, resultsFile]) {
  const plan = JSON.parse(fs.readFileSync(planFile, "utf8"));
  const results = {};
  for (const call of plan.calls) results[call.name] = await carriedOut(call, plan);
  fs.writeFileSync(resultsFile, JSON.stringify(results));
}

main(process.argv.slice(2));
