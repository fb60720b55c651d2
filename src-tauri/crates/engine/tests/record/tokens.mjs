// Records what llama.cpp makes of texts with one vocabulary, once, for the parity tests: of every text of texts.json, of every
// declaration of human rights in declarations.txt, and of nearly all characters of Unicode, with special tokens parsed and without.
// Only hashes are kept, and the ids of a few texts for whoever has to find out why a hash differs. Set up as record.mjs says, then:
//
//   node tokens.mjs VOCABULARY.gguf texts.json declarations.txt tokens_NAME.json
//   node tokens.mjs VOCABULARY.gguf texts.json declarations.txt tokens_NAME.json tokenizer.ggml.pre=gpt-2
//   node tokens.mjs VOCABULARY.gguf --show "some text"
//
// With the last argument of the second line, a value of the file is changed before: a text, true or false.
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { getLlama } from "node-llama-cpp";

const [originalPath, textsPath, declarationsPath, outPath, change] = process.argv.slice(2);

const TEXT = 8;
function changed(file, key, value) {
  const text = (text) => {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
    return Buffer.concat([length, Buffer.from(text)]);
  };
  const at = file.indexOf(text(key)) + text(key).length;
  const old = at + 4 + (file.readUInt32LE(at) === TEXT ? 8 + Number(file.readBigUInt64LE(at + 4)) : 1);
  const made = file.readUInt32LE(at) === TEXT ? text(value) : Buffer.from([value === "true"]);
  return Buffer.concat([file.subarray(0, at + 4), made, file.subarray(old)]);
}
const folder = mkdtempSync(join(tmpdir(), "vocabulary-"));
let modelPath = originalPath;
if (change !== undefined) {
  modelPath = join(folder, "changed.gguf");
  writeFileSync(modelPath, changed(readFileSync(originalPath), ...change.split("=")));
}
const llama = await getLlama({ gpu: false, build: "never", logLevel: "disabled", progressLogs: false });
const model = await llama.loadModel({ modelPath, gpuLayers: 0, vocabOnly: true });
const tokenize = (text, special) => Array.from(model.tokenize(text, special));

if (textsPath === "--show") {
  console.log(JSON.stringify({ plain: tokenize(declarationsPath, false), special: tokenize(declarationsPath, true) }));
  process.exit(0);
}

// Ids as little-endian 32-bit numbers, each text's followed by the number 2^32-1.
class Ids {
  hash = createHash("sha256");
  add(ids) {
    this.hash.update(Buffer.from(Uint32Array.from([...ids, 0xffffffff]).buffer));
    return this;
  }
  end(digits) {
    return this.hash.digest("hex").slice(0, digits);
  }
}
const both = (text, digits) => new Ids().add(tokenize(text, false)).add(tokenize(text, true)).end(digits);

const texts = JSON.parse(readFileSync(textsPath, "utf8"));
const declarations = {};
let lines = 0;
for (const part of `\n${readFileSync(declarationsPath, "utf8")}`.split("\n=").slice(1)) {
  const [name, ...rest] = part.split("\n").filter((line) => line !== "");
  const ids = new Ids();
  for (const line of rest) ids.add(tokenize(line, false)).add(tokenize(line, true));
  declarations[name] = ids.end(8);
  lines += rest.length;
}

// Characters by the 256, each within letters, behind a space, and before a digit.
const characters = [];
for (let block = 0; block < 0x110000; block += 256) {
  if ((block >= 0x40000 && block < 0xe0000) || block >= 0xe1000 || (block >= 0xd800 && block < 0xe000)) continue;
  const codes = Array.from({ length: 256 }, (_, index) => String.fromCodePoint(block + index));
  characters.push(both(codes.map((character) => `a${character} ${character}b${character}1\n`).join(""), 8));
}

// What tokens say. With some vocabularies llama.cpp drops a space before a mark when it makes a text of tokens, so such are left out.
const pieces = createHash("sha256");
let size = 0;
for (const token of model.iterateAllTokens()) {
  if (!/[ \u0120\u2581][?!.,']/.test(model._model.getTokenString(token))) pieces.update(model.detokenize([token]));
  pieces.update("\0");
  size += 1;
}
const ends = Array.from(model.iterateAllTokens()).filter((token) => model.isEogToken(token));
const facts = {
  engine: "llama.cpp v0.5.0 in node-llama-cpp 3.22.1, prebuilt linux-x64",
  command: `node tokens.mjs ${process.argv.slice(2).map((path) => basename(path)).join(" ")}`,
  model_sha256: createHash("sha256").update(readFileSync(originalPath)).digest("hex"),
  texts_sha256: createHash("sha256").update(readFileSync(textsPath)).digest("hex"),
  declarations_sha256: createHash("sha256").update(readFileSync(declarationsPath)).digest("hex"),
  size, ends, lines,
  adds_bos: model.tokens.shouldPrependBosToken, adds_eos: model.tokens.shouldAppendEosToken,
  bos: model.tokens.bos, eos: model.tokens.eos,
  pieces: pieces.digest("hex").slice(0, 16),
  texts: texts.map((text) => both(text, 8)).join(""),
  characters: characters.join(""),
  declarations,
  examples: texts.filter((_, index) => change === undefined && index % 41 === 7).map((text) => ({ text, plain: tokenize(text, false), special: tokenize(text, true) })),
};
writeFileSync(outPath, JSON.stringify(facts).replaceAll('{"text"', '\n{"text"').replaceAll(',"', ',\n"').replaceAll(/,\n("(plain|special)")/g, ",$1").concat("\n"));
rmSync(folder, { recursive: true });
process.exit(0);
