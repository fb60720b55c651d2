// Makes tests/fixtures/engine/texts.json: texts that try a tokenizer, which every vocabulary is then recorded with (tokens.mjs). It
// takes lines.txt and code.txt from here and, for a few dozen languages, lines of declarations.txt, which `cargo xtask model
// --vocabularies` makes:
//
//   node texts.mjs ~/.cache/chrysalis/models/declarations.txt ../../../../../tests/fixtures/engine/texts.json
import { readFileSync, writeFileSync } from "node:fs";

const [declarationsPath, textsPath] = process.argv.slice(2);
const texts = new Set();

// Every line as it is, and what typing, pasting and slicing make of lines.
const lines = readFileSync("lines.txt", "utf8").split("\n").slice(0, -1);
lines.forEach((line, index) => {
  const next = lines[(index + 1) % lines.length];
  texts.add(line);
  if (index % 3 === 0) texts.add(`${line} \r\n\r\n\t ${next}\n`);
  if (index % 3 === 1) texts.add(line.replaceAll(" ", "   "));
  if (index % 3 === 2) texts.add([...line].reverse().join(""));
  if (index % 4 === 0) texts.add(`  ${line.toUpperCase()}\n\n\n  ${line}`);
  if (index % 4 === 1) texts.add(line.replaceAll(" ", ""));
  if (index % 4 === 2) texts.add([...line].join(" "));
});

// Programs, with their lines together, apart, and with the ends of lines of Windows.
for (const program of readFileSync("code.txt", "utf8").split("\n----\n")) {
  texts.add(program);
  texts.add(program.replaceAll("\n", "\r\n"));
  for (const line of program.split("\n")) texts.add(line);
}

// Some lines of the declaration of human rights, in writings of all sorts.
const languages = `eng deu_1996 fra spa por_BR ita nld dan swe nob fin est lav lit pol ces slk hun ron_2006 bul rus ukr bel srp_cyrl
  ell_monotonic tur azj_latn kat hye heb ydd arb pes_1 urd hin ben guj pan tam tel kan mal sin tha lao khm mya bod dzo kor jpn
  cmn_hans cmn_hant yue vie ind jav tgl swh hau_NG yor ibo amh tir zul som mlt isl gle cym eus cat epo lat khk_mong chr_cased
  iii ike vai tzm_tfng fuf_adlm div san uig_arab haw nav`.split(/\s+/);
const declarations = new Map();
for (const part of `\n${readFileSync(declarationsPath, "utf8")}`.split("\n=").slice(1)) {
  const [name, ...rest] = part.trimEnd().split("\n");
  declarations.set(name, rest);
}
for (const language of languages) {
  const declaration = declarations.get(language);
  // The heading, a sentence of the preamble, and that of brotherhood.
  for (const line of [1, 3, 13]) texts.add((declaration?.[line] ?? "").slice(0, 160).toWellFormed());
}

// Runs of white characters, alone and between words.
for (const white of [" ", "\n", "\t", "\r\n", " \n", "\u00a0", "\u3000", "\u2581", "\r", "\v", "\u0085"]) {
  for (const count of [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 30, 31, 32, 33, 63]) {
    if (count > 9 && white.length > 1) continue;
    texts.add(white.repeat(count));
    texts.add(`a${white.repeat(count)}b`);
    texts.add(`1${white.repeat(count)}.`);
  }
}
for (let digits = 1; digits < 14; digits++) texts.add("31415926535897".slice(0, digits)).add(`x${"0".repeat(digits)} ${digits}`);

// What is special to one vocabulary or another, whole, broken, and with neighbours.
for (const special of `<|endoftext|> <|im_start|> <|im_end|> <|begin_of_text|> <|end_of_text|> <|start_header_id|> <|eot_id|> <|eom_id|>
  <|python_tag|> <|reserved_special_token_5|> <think> </think> <tool_call> </tool_response> <|fim_prefix|> <|fim_pad|> <|file_sep|>
  <|repo_name|> <|vision_pad|> <bos> <eos> <pad> <unk> <mask> <s> </s> <start_of_turn> <end_of_turn> <start_of_image> [multimodal]
  <unused0> <unused6241> <0x0A> <0xE2> <table> </table> <h1> <reponame> <gh_stars> [PAD] <EOT>`.split(/\s+/)) {
  texts.add(special).add(` ${special}`).add(`${special} `).add(`a${special}b`).add(`${special}${special}`);
  texts.add(special.slice(1)).add(special.slice(0, -1)).add(special.toUpperCase()).add(`\n${special}\n\n${special} x`);
}

// Chance, the same every time.
let state = 20261126n;
const below = (end) => {
  state = (state * 6364136223846793005n + 1442695040888963407n) & ((1n << 64n) - 1n);
  return Number((state >> 33n) % BigInt(end));
};
const drawn = (count, draw) => Array.from({ length: count }, draw).join("");
const edges = [..." \n\r\t'sStTrReEvVmMlLdD19a.,-é中\u00a0\u0301 '"];
for (let round = 0; round < 300; round++) texts.add(drawn(1 + below(24), () => edges[below(edges.length)]));
const printable = () => String.fromCharCode(32 + below(95));
for (let round = 0; round < 100; round++) texts.add(drawn(1 + below(40), printable));
const scripts = [[0xa0, 0x250], [0x370, 0x590], [0x5d0, 0x700], [0x900, 0xe00], [0x1100, 0x1200], [0x2000, 0x2c00], [0x3040, 0x3100],
  [0x4e00, 0x9fff], [0xac00, 0xd7a4], [0x1d400, 0x1d800], [0x1f300, 0x1fb00], [0x20000, 0x20100], [0xe0000, 0xe0200]];
for (let round = 0; round < 150; round++) {
  const [from, to] = scripts[round % scripts.length];
  texts.add(drawn(1 + below(12), () => (below(4) ? String.fromCodePoint(from + below(to - from)) : printable())));
}
// Bytes that are no text, with U+FFFD where they are none.
for (let round = 0; round < 60; round++) {
  const bytes = Buffer.from(`naïve ${lines[round]} 🦊`);
  for (let wrong = 0; wrong < 3; wrong++) bytes[below(bytes.length)] = 128 + below(128);
  texts.add(bytes.toString("utf8").slice(0, 60).toWellFormed());
}
texts.delete("");
writeFileSync(textsPath, `[\n${[...texts].map((text) => JSON.stringify(text)).join(",\n")}\n]\n`);
