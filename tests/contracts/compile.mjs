// Compiles the contracts. `node compile.mjs` writes code and manifest, `node compile.mjs --check` only says whether they are what the
// sources give. What is there and not used any more is not removed.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { getTolkCompilerVersion, runTolkCompiler } from "@ton/tolk-js";

const folder = fileURLToPath(new URL("../../src-tauri/crates/network/contracts/", import.meta.url));
export const CONTRACTS = ["root", "proxy", "client", "worker"];

/** SHA-256 over all sources in the order of their names, each as its name, a zero byte, its length in 8 bytes, its bytes. */
function sourcesHash() {
  const hash = createHash("sha256");
  for (const name of readdirSync(folder).filter((name) => name.endsWith(".tolk")).sort()) {
    const text = readFileSync(join(folder, name));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    hash.update(name).update(Buffer.of(0)).update(length).update(text);
  }
  return hash.digest("hex");
}

/** Code and manifest, as files with their bytes. */
async function compile() {
  const files = new Map();
  const contracts = {};
  for (const name of CONTRACTS) {
    const result = await runTolkCompiler({
      entrypointFileName: `${name}.tolk`,
      fsReadCallback: (path) => readFileSync(join(folder, path), "utf8"),
      optimizationLevel: 2,
    });
    if (result.status === "error") throw new Error(result.message);
    if (result.stderr) throw new Error(`${name}: ${result.stderr}`);
    const code = Buffer.from(result.codeBoc64, "base64");
    files.set(`${name}.boc`, code);
    contracts[name] = { code_hash: result.codeHashHex.toLowerCase().padStart(64, "0"), bytes: code.length };
  }
  const manifest = { compiler: `tolk ${await getTolkCompilerVersion()}`, sources_sha256: sourcesHash(), contracts };
  files.set("manifest.json", Buffer.from(JSON.stringify(manifest, null, 2) + "\n"));
  return files;
}

const check = process.argv.includes("--check");
const files = await compile();
mkdirSync(join(folder, "code"), { recursive: true });
for (const [name, bytes] of files) {
  const path = join(folder, "code", name);
  if (!check) {
    writeFileSync(path, bytes);
  } else if (!existsSync(path) || !readFileSync(path).equals(bytes)) {
    console.error(`${name} is not what the sources give; \`cargo xtask contracts\` makes it anew`);
    process.exitCode = 1;
  }
}
console.log(files.get("manifest.json").toString().trim());
