// llama.cpp's side of `cargo xtask bench engine`: the same model, prompts as long, answers as long. Run in a folder that has node-llama-cpp.
//
//   node llama.mjs MODEL.gguf PROMPT GENERATE PARALLEL ROUNDS THREADS
//
// Prints one JSON object with the words of `chrysalis-worker bench --json`.
import { getLlama } from "node-llama-cpp";

const [modelPath, ...numbers] = process.argv.slice(2);
const [prompt, generate, parallel, rounds, threads] = numbers.map(Number);
const begin = performance.now();
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error", progressLogs: false });
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const contextSize = prompt + generate + 1;
const context = await model.createContext({ sequences: parallel, contextSize, batchSize: 512, threads });
const ready = performance.now() - begin;
// The first tokens of a text, begun somewhere else for each request.
const text = model.tokenize("A home computer answers questions while its owner is away. ".repeat(prompt));
const sequences = Array.from({ length: parallel }, (_, number) => ({
  sequence: context.getSequence(),
  tokens: Array.from({ length: prompt }, (_, at) => text[(at + number * 31) % text.length]),
}));

const median = (figures) => {
  const sorted = [...figures].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.floor(sorted.length / 2)]) / 2;
};

async function round() {
  for (const { sequence } of sequences) await sequence.clearHistory();
  const start = performance.now();
  let begun = 0;
  let decoded = 0;
  const firsts = [];
  const one = async ({ sequence, tokens }) => {
    let count = 0;
    for await (const _ of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
      count += 1;
      if (count === 1) firsts.push((performance.now() - start) / 1000);
      // Only while all of them generate.
      else if (begun === parallel) decoded += 1;
      if (count === 1) begun += 1;
      if (count === generate) break;
    }
  };
  await Promise.all(sequences.map(one));
  const whole = (performance.now() - start) / 1000;
  const last = Math.max(...firsts);
  return { prompt: (prompt * parallel) / last, decode: decoded / (whole - last), firsts };
}

const done = [];
for (let index = 0; index < rounds; index += 1) done.push(await round());
const firsts = done.flatMap((round) => round.firsts);
console.log(
  JSON.stringify({
    backend: "llama.cpp",
    threads,
    parallel,
    ready_seconds: ready / 1000,
    peak_memory_bytes: process.resourceUsage().maxRSS * 1024,
    prompt_tokens_per_second: median(done.map((round) => round.prompt)),
    tokens_per_second: median(done.map((round) => round.decode)),
    rounds: done.map((round) => ({ prompt_tokens_per_second: round.prompt, tokens_per_second: round.decode })),
    first_token_seconds: { min: Math.min(...firsts), median: median(firsts), max: Math.max(...firsts) },
  }),
);
process.exit(0);
