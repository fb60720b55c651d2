// Records what llama.cpp makes of prompts.json and lines.txt, once, for the parity tests. It evaluates token by token and without
// flash attention: its results change with the batch size and the kind of attention, and this setting is the one in which every
// token is computed like every other. It must be a machine with AVX-512, whose order of summation ours follows; with other
// instructions, also with the matrix extensions of servers (hence the line with rm), llama.cpp itself comes to other tokens within a few
// dozen. In an empty folder:
//
//   echo '{"type":"module","private":true}' > package.json
//   npm install --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
//   rm node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libggml-cpu-sapphirerapids.so
//   cp <this folder>/* .
//   node record.mjs SmolLM2-135M-Instruct.Q4_1.gguf greedy_smollm2.json tokenizer_smollm2.json
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { getLlama } from "node-llama-cpp";

const [modelPath, greedyPath, tokenizerPath] = process.argv.slice(2);
const TOKENS = 48;

const llama = await getLlama({ gpu: false, build: "never", logLevel: "error", progressLogs: false });
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const context = await model.createContext({ contextSize: 1024, batchSize: 1, threads: 2, flashAttention: false });
const sequence = context.getSequence();

const facts = {
  engine: "llama.cpp v0.5.0 in node-llama-cpp 3.22.1, prebuilt linux-x64, CPU with AVX-512, 2 threads, batch size 1, flash attention off",
  command: `node record.mjs ${basename(modelPath)} ${basename(greedyPath)} ${basename(tokenizerPath)}`,
  model_sha256: createHash("sha256").update(readFileSync(modelPath)).digest("hex"),
};

// Special tokens are parsed, nothing is added, the likeliest token wins; the token that ends an answer is not recorded.
const greedy = [];
for (const { name, text } of JSON.parse(readFileSync("prompts.json", "utf8"))) {
  const promptTokens = model.tokenize(text, true);
  await sequence.clearHistory();
  const tokens = [];
  for await (const token of sequence.evaluate(promptTokens, { temperature: 0 })) {
    tokens.push(token);
    if (tokens.length === TOKENS) break;
  }
  greedy.push({ name, text, prompt_tokens: promptTokens, tokens, generated: model.detokenize(tokens) });
}
const pretty = (key, rows) =>
  JSON.stringify(facts).slice(0, -1).concat(`,"${key}":[\n`, rows.map((row) => JSON.stringify(row)).join(",\n"), "\n]}\n");
writeFileSync(greedyPath, pretty("prompts", greedy));

// Every line as it is, and what typing, pasting and slicing make of lines.
const lines = readFileSync("lines.txt", "utf8").split("\n").slice(0, -1);
const texts = new Set(lines);
lines.forEach((line, index) => {
  const next = lines[(index + 1) % lines.length];
  texts.add(`${line}\n${next}`);
  if (index % 3 === 0) texts.add(`${line} \r\n\r\n\t ${next}\n`);
  if (index % 3 === 1) texts.add(line.replaceAll(" ", "   "));
  if (index % 3 === 2) texts.add([...line].reverse().join(""));
  if (index % 4 === 0) texts.add(`  ${line.toUpperCase()}\n\n\n  ${line}`);
  if (index % 4 === 1) texts.add(line.replaceAll(" ", ""));
  if (index % 4 === 2) texts.add([...line].join(" "));
});
texts.delete("");
const rows = [...texts].map((text) => ({ text, plain: model.tokenize(text, false), special: model.tokenize(text, true) }));
writeFileSync(tokenizerPath, pretty("texts", rows));
process.exit(0);
