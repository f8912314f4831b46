// Reads one job a line from standard input, and writes one answer a line to standard output.
import readline from "node:readline";

const write = process.stdout.write.bind(process.stdout);
// What a library prints is none of our answers.
for (const level of ["log", "info", "debug"]) console[level] = console.error;

function described(error) {
  const status = error?.status ?? error?.statusCode ?? error?.lastError?.statusCode;
  const message = [error?.message ?? String(error), error?.lastError?.message, error?.cause?.message];
  return { kind: error?.constructor?.name ?? typeof error, message: message.filter(Boolean).join(" | "), status };
}

export async function serve(work) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = { value: (await work(JSON.parse(line))) ?? null };
    } catch (error) {
      answer = { error: described(error) };
    }
    write(JSON.stringify(answer) + "\n");
  }
}
