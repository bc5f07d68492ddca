// The calls of a plan on `openai` 3.x: `node node_3.cjs PLAN RESULTS`, beside that SDK's own node_modules.

"use strict";

const fs = require("node:fs");
const { Configuration, OpenAIApi } = require("openai");

// This SDK has no streaming of its own: programs read the lines of the response.
async function chunks(stream) {
  let text = "";
  for await (const part of stream) text += part;
  const data = text.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice("data: ".length));
  if (data.pop() !== "[DONE]") throw new Error(`a stream without an end: ${text}`);
  return data.map((line) => JSON.parse(line));
}

async function asked(method, args) {
  if (!args.stream) return (await method(args)).data;
  return chunks((await method(args, { responseType: "stream" })).data);
}

async function made(api, kind, args) {
  switch (kind) {
    case "chat":
      return asked((...how) => api.createChatCompletion(...how), args);
    case "complete":
      return asked((...how) => api.createCompletion(...how), args);
    case "embed":
      return asked((...how) => api.createEmbedding(...how), args);
    case "models":
      return (await api.listModels()).data;
    case "model":
      return (await api.retrieveModel(args.model)).data;
    // Its parameters are positional, and those that are younger than it cannot be sent.
    case "transcribe":
      return (await api.createTranscription(
        fs.createReadStream(args.file), args.model, args.prompt, args.response_format, args.temperature, args.language,
      )).data;
    case "translate":
      return (await api.createTranslation(
        fs.createReadStream(args.file), args.model, args.prompt, args.response_format, args.temperature,
      )).data;
    default:
      throw new Error(kind);
  }
}

async function body(response) {
  if (typeof response.data?.on !== "function") return response.data;
  let text = "";
  for await (const part of response.data) text += part;
  return JSON.parse(text);
}

async function carriedOut(call, plan) {
  const configuration = new Configuration({
    basePath: plan.url,
    apiKey: call.key ?? plan.key,
    organization: call.organization,
  });
  try {
    return { answer: await made(new OpenAIApi(configuration), call.call, call.arguments) };
  } catch (error) {
    if (!error.response) return { crash: String(error.stack) };
    return { error: { class: error.name, status: error.response.status, ...(await body(error.response)).error } };
  }
}

async function main([planFile, resultsFile]) {
  const plan = JSON.parse(fs.readFileSync(planFile, "utf8"));
  const results = {};
  for (const call of plan.calls) results[call.name] = await carriedOut(call, plan);
  fs.writeFileSync(resultsFile, JSON.stringify(results));
}

main(process.argv.slice(2));
