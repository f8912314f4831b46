// The vendors' own SDKs. A job names one, the method to call and its arguments:
//   {sdk, url, secret, call: ["chat", "completions", "create"], with: [...], as: "value" | "list" | "final"}
// `url` is the gateway's, without a path. Of a stream `list` gives all events, and `final` what the SDK makes of them.
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { serve } from "./jobs.mjs";

const FINAL = ["finalChatCompletion", "finalMessage", "finalResponse"];
const SDKS = {
  openai: (url, apiKey) => new OpenAI({ apiKey, baseURL: `${url}/v1` }),
  anthropic: (url, apiKey) => new Anthropic({ apiKey, baseURL: url }),
  google: (url, apiKey) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: url } }),
};

async function listed(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

await serve(async ({ sdk, url, secret, call, with: given, as }) => {
  let target = SDKS[sdk](url, secret);
  for (const name of call.slice(0, -1)) target = target[name];
  const answer = target[call.at(-1)](...given);
  if (as === "final") return answer[FINAL.find((name) => name in answer)]();
  return as === "list" ? listed(await answer) : answer;
});
