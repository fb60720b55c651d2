// What the crate `wallet` is held to is still what TON's own libraries make, and their checks agree with ours.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { deriveEd25519Path, mnemonicValidate } from "@ton/crypto";
import { bip39Phrase, FILE, vectors } from "./wallet.mjs";

test("the committed vectors are those that TON's libraries make", async () => {
  assert.deepEqual(JSON.parse(readFileSync(FILE, "utf8")), await vectors());
});

test("phrases and keys of BIP39's scheme are those of its and SLIP-10's published vectors", async () => {
  assert.equal(bip39Phrase(Buffer.alloc(16)).join(" "), `${"abandon ".repeat(11)}about`);
  const legal = "legal winner thank year wave sausage worth useful";
  assert.equal(bip39Phrase(Buffer.alloc(16, 0x7f)).join(" "), `${legal} legal winner thank yellow`);
  const child = await deriveEd25519Path(Buffer.from("000102030405060708090a0b0c0d0e0f", "hex"), [0]);
  assert.equal(child.toString("hex"), "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3");
});

test("phrases of one scheme are none of the other's", async () => {
  for (const { scheme, words } of JSON.parse(readFileSync(FILE, "utf8"))) {
    assert.equal(await mnemonicValidate(words.split(" ")), scheme === "ton", words);
  }
});
