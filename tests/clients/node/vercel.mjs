// The Vercel AI SDK. A job is one of `tests/clients/python/jobs.py`; dialect `compatible` is OpenAI's through another
// package.
import { generateText, stepCountIs, streamText, tool } from "ai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { z } from "zod";
import { serve } from "./jobs.mjs";

const MAX_TURNS = 20;
const MODELS = {
  openai: (url, apiKey, model) => createOpenAI({ apiKey, baseURL: `${url}/v1` }).chat(model),
  responses: (url, apiKey, model) => createOpenAI({ apiKey, baseURL: `${url}/v1` }).responses(model),
  compatible: (url, apiKey, model) =>
    createOpenAICompatible({ name: "gateway", apiKey, baseURL: `${url}/v1`, includeUsage: true })(model),
  anthropic: (url, apiKey, model) => createAnthropic({ apiKey, baseURL: `${url}/v1` })(model),
  gemini: (url, apiKey, model) => createGoogleGenerativeAI({ apiKey, baseURL: `${url}/v1beta` })(model),
};
const weather = tool({
  description: "Tells the weather of a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `${city}: rain`,
});

await serve(async ({ do: what, url, secret, dialect, model, prompt }) => {
  const asked = { model: MODELS[dialect](url, secret, model), prompt };
  if (what === "stream") {
    let raised;
    const result = streamText({ ...asked, onError: ({ error }) => void (raised = error) });
    let text = "";
    for await (const piece of result.textStream) text += piece;
    if (raised) throw raised;
    return answered(text, await result.usage);
  }
  const loop = what === "loop" ? { tools: { get_weather: weather }, stopWhen: stepCountIs(MAX_TURNS) } : {};
  const result = await generateText({ ...asked, ...loop });
  return answered(result.text, result.totalUsage ?? result.usage);
});

function answered(text, usage) {
  return { text, input_tokens: usage.inputTokens, output_tokens: usage.outputTokens };
}
