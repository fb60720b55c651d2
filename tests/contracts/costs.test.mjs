// The figures of the documentation are those of the committed code, and a payout is no dearer than on Cocoon's own network.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FIGURES, figures, measure, PAGE, pageWith } from "./costs.mjs";

/** What the second payout of a worker costs its owner with the contracts of Cocoon's main network, wallet V5R1 and 0.2 attached. */
const PAYOUT_THERE = 15_526_000;

test("gas and fees are those of the documentation, to the nanoton", async () => {
  const rows = await measure();
  assert.equal(figures(rows), readFileSync(FIGURES, "utf8"), "`cargo xtask contracts` writes them anew");
  const page = readFileSync(PAGE, "utf8");
  assert.equal(pageWith(page, rows), page);
  const payout = rows.find((row) => row.operation === "worker: payout, from a wallet V5R1");
  assert(payout.fees_nanoton <= PAYOUT_THERE, `${payout.fees_nanoton}`);
});
