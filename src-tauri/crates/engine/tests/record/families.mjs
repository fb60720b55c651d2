// Records what llama.cpp makes of the models of `synthetic::family`, for `cpu::tests::families_compute_what_llama_cpp_computes`. In an
// empty folder, with the files that `WRITE_FAMILIES=<this folder> cargo test -p engine families` writes:
//
//   echo '{"type":"module","private":true}' > package.json
//   npm install --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
//   rm node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libggml-cpu-sapphirerapids.so
//   node families.mjs *.gguf
//
// Each model.gguf gives model.bin: for every token of `tokens` the logarithms of all probabilities behind it, in the order of the ids,
// as 32-bit floats, least significant byte first.
import { readFileSync, writeFileSync } from "node:fs";
import { getLlama } from "node-llama-cpp";

const tokens = JSON.parse(readFileSync("families.json", "utf8")).tokens;
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error", progressLogs: false });
for (const name of process.argv.slice(2)) {
  const model = await llama.loadModel({ modelPath: name, gpuLayers: 0 });
  const context = await model.createContext({ contextSize: 256, batchSize: 1, threads: 2, flashAttention: false });
  const sequence = context.getSequence();
  const generateNext = { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } };
  const results = await sequence.controlledEvaluate(tokens.map((token) => [token, { generateNext }]));
  const rows = results.map(({ next }) => {
    const row = new Float32Array(next.probabilities.size);
    for (const [token, probability] of next.probabilities) row[token] = Math.log(probability);
    return row;
  });
  writeFileSync(name.replace(/gguf$/, "bin"), Buffer.concat(rows.map((row) => Buffer.from(row.buffer))));
  await model.dispose();
}
