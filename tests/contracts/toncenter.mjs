// Tries a chain behind toncenter's API with an unmodified client, and its fees against the reference sandbox:
// `node toncenter.mjs ENDPOINT TOKEN`. Prints one line of JSON; anything wrong ends it with code 1.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Address, Cell, beginCell, contractAddress, internal, SendMode, toNano } from "@ton/core";
import { keyPairFromSeed } from "@ton/crypto";
import { Blockchain, internal as received } from "@ton/sandbox";
import { runTolkCompiler } from "@ton/tolk-js";
import { TonClient, WalletContractV4, WalletContractV5R1 } from "@ton/ton";

const [endpoint, token] = process.argv.slice(2);
const client = new TonClient({ endpoint, apiKey: token });
const FAUCET = new Address(0, Buffer.alloc(32, 0xfa));

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
async function until(what, ready) {
  for (let tries = 0; tries < 600; tries++) {
    const found = await ready();
    if (found) return found;
    await pause(50);
  }
  throw new Error(`waited in vain for ${what}`);
}

async function admin(method, params) {
  const url = endpoint.replace("/api/v2/jsonRPC", "/admin");
  const body = JSON.stringify({ method, params });
  const answer = await fetch(url, { method: "POST", headers: { "X-API-Key": token }, body });
  const read = await answer.json();
  assert.ok(read.ok, JSON.stringify(read));
  return read.result;
}

/** The whole history of an account, oldest first, by pages of two so that the cursor is tried too. */
async function history(address) {
  const found = [];
  let page = await client.getTransactions(address, { limit: 2, archival: true });
  while (page.length > 0) {
    found.push(...page);
    const last = page[page.length - 1];
    page = await client.getTransactions(address, {
      limit: 2,
      lt: last.lt.toString(),
      hash: last.hash().toString("base64"),
      archival: true,
    });
  }
  return found.reverse();
}

/** What a transaction cost and how it ended. */
function figures(tx) {
  const d = tx.description;
  const compute = d.computePhase;
  return {
    total: tx.totalFees.coins.toString(),
    storage: (d.storagePhase?.storageFeesCollected ?? 0n).toString(),
    gas: compute?.type === "vm" ? compute.gasUsed.toString() : "none",
    gasFees: compute?.type === "vm" ? compute.gasFees.toString() : "none",
    exit: compute?.type === "vm" ? compute.exitCode : -1,
    action: d.actionPhase?.resultCode ?? -1,
    forward: (d.actionPhase?.totalFwdFees ?? 0n).toString(),
    aborted: d.aborted,
    out: tx.outMessages.values().map((m) => [
      m.info.type,
      m.info.type === "internal" ? m.info.value.coins.toString() : "",
      m.info.type === "internal" ? m.info.forwardFee.toString() : "",
      m.body.hash().toString("hex"),
    ]),
  };
}

// The same on the reference, hop by hop at the times at which the chain did it.
const reference = await Blockchain.create();
let compared = 0;
async function compare(message, hops) {
  reference.now = hops[0].now;
  const steps = await reference.sendMessageIter(message);
  for (const hop of hops) {
    reference.now = hop.now;
    const step = await steps.next();
    assert.ok(!step.done, "the reference has fewer transactions");
    assert.deepEqual(figures(hop), figures(step.value));
    compared += 1;
  }
}

async function give(to, value) {
  const before = (await client.getContractState(to)).lastTransaction?.lt;
  await admin("faucet", { address: to.toString(), nanotons: value.toString() });
  await until("the faucet", async () => (await client.getContractState(to)).lastTransaction?.lt !== before);
  const [hop] = await client.getTransactions(to, { limit: 1 });
  await compare(received({ from: FAUCET, to, value, bounce: false }), [hop]);
}

const master = await client.getMasterchainInfo();
assert.ok(master.latestSeqno > 0);

const keys = keyPairFromSeed(Buffer.alloc(32, 7));
const five = WalletContractV5R1.create({ publicKey: keys.publicKey, walletId: { networkGlobalId: -239 } });
const four = WalletContractV4.create({ workchain: 0, publicKey: keys.publicKey });
const wallets = { five: client.open(five), four: client.open(four) };
assert.equal(await client.getBalance(five.address), 0n);
assert.equal(await client.isContractDeployed(five.address), false);
await give(five.address, toNano("5"));
await give(four.address, toNano("3"));

const compiled = await runTolkCompiler({
  entrypointFileName: "counter.tolk",
  fsReadCallback: (path) => readFileSync(fileURLToPath(new URL(path, import.meta.url)), "utf8"),
});
assert.equal(compiled.status, "ok", compiled.message);
const code = Cell.fromBase64(compiled.codeBoc64);
const init = { code, data: beginCell().storeUint(1, 32).storeUint(0, 64).endCell() };
const counter = contractAddress(0, init);

/** Sends from a wallet, waits until all that follows has happened, and compares it with the reference. */
async function send(wallet, messages, hopsOf, mode = SendMode.PAY_GAS_SEPARATELY + SendMode.IGNORE_ERRORS) {
  const seqno = await wallet.getSeqno();
  const body = wallet.createTransfer({ seqno, secretKey: keys.secretKey, messages, sendMode: mode });
  const estimated = await client.estimateExternalMessageFee(wallet.address, {
    body,
    initCode: seqno === 0 ? wallet.init.code : null,
    initData: seqno === 0 ? wallet.init.data : null,
    ignoreSignature: true,
  });
  const before = new Map();
  for (const address of hopsOf) before.set(address.toString(), (await history(address)).length);
  await client.sendExternalMessage(wallet, body);
  await until("the wallet", async () => (await wallet.getSeqno()) === seqno + 1);
  // Each further hop takes a block.
  const counts = new Map();
  const hops = [];
  for (const address of hopsOf) {
    const key = address.toString();
    const at = before.get(key) + (counts.get(key) ?? 0);
    counts.set(key, (counts.get(key) ?? 0) + 1);
    hops.push(await until(`a transaction of ${key}`, async () => (await history(address))[at]));
  }
  const fees = estimated.source_fees;
  const first = figures(hops[0]);
  assert.equal(BigInt(fees.gas_fee), BigInt(first.gasFees), "the estimate's gas is that of the transaction");
  assert.equal(BigInt(fees.fwd_fee), BigInt(first.forward), "the estimate's forward fees are those of the transaction");
  await compare(hops[0].inMessage, hops);
  return hops;
}

const { five: wallet, four: other } = wallets;
// Deployed by its first transfer; a contract is deployed by a message; money to a wallet that is there; a wallet's own call comes back.
await send(wallet, [internal({ to: counter, value: toNano("0.2"), init, bounce: false })], [five.address, counter]);
assert.equal(await client.isContractDeployed(five.address), true);
await send(other, [internal({ to: five.address, value: toNano("1.5"), body: "hello" })], [four.address, five.address]);
const asked = (by) => beginCell().storeUint(0x7e8764ef, 32).storeUint(1, 64).storeUint(by, 32).endCell();
await send(
  wallet,
  [internal({ to: counter, value: toNano("0.1"), body: asked(3) })],
  [five.address, counter, five.address],
);
// A refusal: the money comes back.
const refused = await send(
  wallet,
  [internal({ to: counter, value: toNano("0.1"), body: asked(0) })],
  [five.address, counter, five.address],
);
assert.equal(refused[1].description.computePhase.exitCode, 400);
// To nobody: the money comes back.
const nobody = new Address(0, Buffer.alloc(32, 0xee));
await send(wallet, [internal({ to: nobody, value: toNano("0.1"), bounce: true })], [five.address, nobody, five.address]);
// A year later the counter pays its rent.
const late = await admin("advanceTime", { seconds: 365 * 24 * 3600 });
assert.ok(late.time > Date.now() / 1000 + 364 * 24 * 3600);
await give(counter, toNano("0.05"));
const [rent] = await client.getTransactions(counter, { limit: 1 });
assert.ok(rent.description.storagePhase.storageFeesCollected > 1_000_000n, "a year's rent");

const plain = await client.runMethod(counter, "count");
assert.equal(plain.stack.readBigNumber(), 3n);
const more = await client.runMethod(counter, "sum_with", [{ type: "int", value: 39n }]);
assert.equal(more.stack.readBigNumber(), 42n);
assert.equal(more.stack.readCell().bits.length, 96);
const onReference = await reference.runGetMethod(counter, "sum_with", [{ type: "int", value: 39n }]);
assert.equal(BigInt(more.gas_used), onReference.gasUsed, "a get-method takes the gas it takes on the reference");
await assert.rejects(client.runMethod(counter, "no_such_method"), /exit_code: 11/);

// Time has passed for wallets too, so the signature's time has to be the chain's.
const year = await client.getTransactions(five.address, { limit: 1 });
assert.ok(year[0].now < late.time);
const own = await history(five.address);
for (const tx of own) {
  const one = await client.getTransaction(five.address, tx.lt.toString(), tx.hash().toString("base64"));
  assert.equal(one.hash().toString("hex"), tx.hash().toString("hex"));
}
for (const [address, contract] of [[five.address, five], [four.address, four], [counter, null]]) {
  const there = await client.getBalance(address);
  const here = (await reference.getContract(address)).balance;
  assert.equal(there, here, `${contract?.constructor.name ?? "the counter"} has what it has on the reference`);
}
// Replayed, it is refused: its number is used up.
const replay = own.find((tx) => tx.inMessage?.info.type === "external-in");
await assert.rejects(client.sendMessage(replay.inMessage));
const block = await client.getWorkchainShards((await client.getMasterchainInfo()).latestSeqno);
assert.equal(block.length, 1);
const audit = await admin("audit", {});
assert.equal(audit.adds_up, true, JSON.stringify(audit));
console.log(JSON.stringify({ compared, history: own.length }));
