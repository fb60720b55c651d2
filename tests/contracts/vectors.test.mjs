// The builders write what genuine programs write: cells recorded from the description of Cocoon's protocol.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Address, Cell } from "@ton/core";
import { keyPairFromSeed } from "@ton/crypto";
import * as bodies from "./bodies.mjs";
import { OP } from "./bodies.mjs";

const worker = Address.parse("UQDLYGhRHNqXquKXJazsjMBUUhXtmZ_Nom43-_sztpg80bUO");
const rest = Address.parse("UQAXGlaBPBoSyvlI0cEGKvS8Ak5e9JFcmKmcBmYsKhNTIdbG");
const hex = (cell) => cell.hash().toString("hex");

test("terms without codes are the cell of the documents", () => {
  const terms = { ...bodies.TERMS, layout: 1, pricePerToken: 2n, workerFeePerToken: 1n };
  assert.equal(hex(bodies.terms(terms)), "59b8161e92d89302035d2d082eabf144dcadd01b8e710f8a9c6004da44a0e7a1");
});

test("a signed payment is the bag of cells of the documents", () => {
  const { secretKey } = keyPairFromSeed(Buffer.from("ml+7xELuOQtfp9q9mSWtHiSWx5aSBV6p3xCfwPmHOwY=", "base64"));
  const query = 0x0102030405060708n;
  const part = bodies.signedPart(OP.workerPayout, query, 1_234_567n, worker);
  assert.equal(hex(part), "2b1eb49b6bfe9336323b5d043df3ef76190324b350ce47511b6ba8beb356456e");
  const recorded = Cell.fromHex(
    "b5ee9c720101020100a90001dba040ad2801020304050607088002e34ad0278342595f291a3820c55e978049cbde922b93153380ccc585426a643eeb7f84ef7d40" +
      "0023861f5c3415db5ce862ee043c7ce2435d4be266cd0735cc64d4aeac00fe789ce65e4dc8a89e7e26dfeade8a55a1c86f213f3fe17ed64ae19001006ba040ad28" +
      "0102030405060708000000000012d68780196c0d0a239b52f55c52e4b59d91980a8a42bdb333f9b44dc6ff7f6676d3079a30",
  );
  assert.equal(hex(bodies.signed(OP.workerPayout, query, part, rest, secretKey)), hex(recorded));
});
