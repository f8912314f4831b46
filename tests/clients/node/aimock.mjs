// A provider that none of us wrote, in every dialect, on a free port. It writes its address, and ends with its input.
import { LLMock } from "@copilotkit/aimock";

const CASES = 400;
const TURNS = 10;

const used = (input, output) => ({ usage: { prompt_tokens: input, completion_tokens: output, total_tokens: input + output } });
const results = (request) => request.messages.filter((message) => message.role === "tool").length;
const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent" });

// Whoever brings one of these tools, and says "in a loop", is made to use it ten times. Each turn reports other tokens.
const TOOLS = {
  get_weather: (turn) => ({ city: `City ${turn}` }),
  Bash: (turn) => ({ command: `echo turn ${turn}`, description: "Says which turn it is" }),
  exec_command: (turn) => ({ cmd: `echo turn ${turn}` }),
  shell: (turn) => ({ command: ["echo", `turn ${turn}`] }),
  shell_command: (turn) => ({ command: `echo turn ${turn}` }),
};
for (let turn = 0; turn <= TURNS; turn += 1) {
  const predicate = (request) => loops(request) && results(request) === turn;
  const reported = used(2_000 + 100 * turn, 40 + turn);
  const response = (request) => {
    const name = toolOf(request);
    // As Gemini does it. The mock's own word, FUNCTION_CALL, is one that Gemini's clients do not know.
    const end = request.model.startsWith("gemini") ? { finishReason: "stop" } : {};
    return { toolCalls: [{ name, arguments: JSON.stringify(TOOLS[name](turn)) }], ...reported, ...end };
  };
  mock.addFixture({ match: { predicate }, response: turn < TURNS ? response : { content: "It rains everywhere.", ...reported } });
}
// Case 7 takes 1,049 tokens of input and 121 of output: no two cases are alike.
for (let number = 0; number < CASES; number += 1) {
  mock.onMessage(`case ${number}.`, { content: `This is the answer to case ${number}, in a few words.`, ...used(1_000 + 7 * number, 100 + 3 * number) });
}
mock.onEmbedding(/case/, { embedding: [0.1, 0.2, 0.3] });
mock.addFixture({ match: { predicate: () => true }, response: { content: "Nobody asked for a case.", ...used(111, 12) } });

function toolOf(request) {
  return (request.tools ?? []).map((tool) => tool.function?.name ?? tool.name).find((name) => name in TOOLS);
}

function loops(request) {
  return toolOf(request) !== undefined && JSON.stringify(request.messages).includes("in a loop");
}

await mock.start();
process.stdout.write(`${mock.url}\n`);
process.stdin.on("end", () => process.exit(0)).resume();
