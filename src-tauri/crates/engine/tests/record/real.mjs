// Records what llama.cpp makes of a text with a real model, for `cpu::real`. In the folder made for record.mjs, with text.txt of
// tests/fixtures/engine/real (the Gettysburg Address and the first sentence of The War of the Worlds, both in the public domain):
//
//   node real.mjs MODEL.gguf name.json [tokens at most]
//
// Gemma 3 with weights that widen.py has made floats of, and no more than 150 tokens, which take a while.
// Without libggml-cpu-sapphirerapids.so: matrix extensions of servers round in a way that no home PC does.
// For every token of the text: the logarithms of the 64 highest probabilities behind it and of that of the token that follows.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { getLlama } from "node-llama-cpp";

const [modelPath, outPath, most] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error", progressLogs: false });
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const context = await model.createContext({ contextSize: 1024, batchSize: 1, threads: 2, flashAttention: false });
const sequence = context.getSequence();
const text = readFileSync("text.txt", "utf8");
const tokens = model.tokenize(text, false);
if (model.tokens.bos !== null && model.tokens.shouldPrependBosToken) tokens.unshift(model.tokens.bos);
if (most) tokens.splice(Number(most));
const generateNext = { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } };
const rows = [];
for (const [index, token] of tokens.entries()) {
  const [{ next }] = await sequence.controlledEvaluate([[token, { generateNext }]]);
  const log = (probability) => Number(Math.log(probability).toFixed(5));
  const all = [...next.probabilities].sort((a, b) => b[1] - a[1]).slice(0, 64);
  const follows = tokens[index + 1];
  rows.push({
    likeliest: all.map(([id]) => id),
    logs: all.map(([, probability]) => log(probability)),
    follows: follows === undefined ? null : log(next.probabilities.get(follows)),
  });
}
const facts = {
  engine: "llama.cpp v0.5.0 in node-llama-cpp 3.22.1, prebuilt linux-x64, CPU, 2 threads, batch size 1, flash attention off",
  command: `node real.mjs ${basename(modelPath)} ${basename(outPath)}`,
  model_sha256: createHash("sha256").update(readFileSync(modelPath)).digest("hex"),
  tokens,
};
writeFileSync(outPath, JSON.stringify(facts).slice(0, -1) + ',"rows":[\n' + rows.map((row) => JSON.stringify(row)).join(",\n") + "\n]}\n");
