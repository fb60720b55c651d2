// What each operation costs: gas of the contracts it passes, and the fees altogether, measured on the sandbox with the prices of
// TON's main network. `node costs.mjs` writes the figures and the table of the documentation; the tests compare.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Cell, internal as relaxed, SendMode, toNano } from "@ton/core";
import { WalletContractV5R1 } from "@ton/ton";
import * as bodies from "./bodies.mjs";
import { OP } from "./bodies.mjs";
import { keys, Net, person, TON } from "./chain.mjs";

const docs = new URL("../../src-tauri/docs/", import.meta.url);
export const FIGURES = new URL("contracts-costs.json", docs);
export const PAGE = new URL("contracts.md", docs);
const BEGIN = "<!-- costs: written by `cargo xtask contracts` -->\n";
const END = "<!-- end of costs -->";

export async function measure() {
  const rows = [];
  const net = await Net.open();
  const rest = person("rest");
  const row = (operation, value, trace, contract, refused = false) => {
    if (!refused) trace.assertAllDone();
    const there = trace.transactions.reduce((sum, tx) => {
      const forward = tx.inMessage.info.type === "internal" ? tx.inMessage.info.forwardFee : 0n;
      return sum + tx.totalFees.coins + forward;
    }, 0n);
    const gas = contract.address.equals(net.proxy.address) ? null : trace.gas(contract.address);
    rows.push({
      operation,
      attached_nanoton: Number(value),
      gas_first: gas ?? trace.gas(net.proxy.address),
      gas_proxy: gas === null ? 0 : trace.gas(net.proxy.address),
      fees_nanoton: Number(there),
      stays_nanoton: 0,
    });
  };

  // Somebody's own wallet brings the payouts: what it costs him altogether.
  const key = keys("a wallet");
  const wallet = net.chain.openContract(WalletContractV5R1.create({ publicKey: key.publicKey, workchain: 0 }));
  await net.send(person("faucet"), wallet.address, 100n * TON, Cell.EMPTY, undefined, false);
  const worker = { owner: wallet.address, ...bodies.workerContract(wallet.address, net.proxy.address, net.key.publicKey, net.terms) };
  const client = await net.client("client");
  row("client: top-up", toNano("0.7"), await net.topUp(client, 100n * TON), client);
  let total = 0n;
  let seqno = 0;
  const byWallet = async (operation, op, value, added, init) => {
    total += added;
    const message = { to: worker.address, value, init, bounce: !init, body: net.signed(op, worker.address, total, { excessesTo: wallet.address }) };
    const before = await net.balance(wallet.address);
    const timeout = net.chain.now + 60;
    const sent = { seqno, timeout, secretKey: key.secretKey, sendMode: SendMode.PAY_GAS_SEPARATELY, messages: [relaxed(message)] };
    const trace = net.book(await wallet.sendTransfer(sent));
    seqno += 1;
    trace.assertAllDone();
    const paid = trace.paid(wallet.address);
    const cost = before + paid - (await net.balance(wallet.address));
    const stays = op === OP.workerLastPayout ? -toNano("0.1") : init ? toNano("0.11") : 0n;
    rows.push({
      operation,
      attached_nanoton: Number(value),
      gas_first: trace.gas(worker.address),
      gas_proxy: trace.gas(net.proxy.address),
      fees_nanoton: Number(cost - stays),
      stays_nanoton: Number(stays),
    });
  };
  await byWallet("worker: deploy and first payout, from a wallet V5R1 that is new too", OP.workerPayout, toNano("0.2"), 300_000_000n, worker.init);
  await byWallet("worker: payout, from a wallet V5R1", OP.workerPayout, toNano("0.2"), 300_000_000n);
  await byWallet("worker: last payout, from a wallet V5R1", OP.workerLastPayout, toNano("0.2"), 0n);

  await net.topUp(await net.client("another"), 100n * TON);
  const other = await net.worker("other");
  row("worker: payout alone", toNano("0.5"), await net.payout(other, 1_000_000n), other);
  row("worker: older total, refused", toNano("0.5"), await net.payout(other, 1_000_000n), other, true);
  row("worker: bad signature, refused", toNano("0.5"), await net.payout(other, 2_000_000n, { key: keys("x") }), other, true);
  row("worker: too little value, refused", toNano("0.1"), await net.payout(other, 2_000_000n, { value: toNano("0.1") }), other, true);
  row("worker: payout the proxy can't pay", toNano("0.5"), await net.payout(other, 20_000_000_000n), other, true);
  const shown = await net.send(other.owner, other.address, TON, bodies.plain(OP.workerRegister, 1, rest));
  row("worker: register", TON, shown, other);

  const own = (body, value) => net.send(client.owner, client.address, value, body);
  row("client: charge", toNano("0.5"), await net.charge(client, 1_000_000n), client);
  row("client: register", TON, await own(bodies.register(1, 2, rest), TON), client);
  row("client: change secret", toNano("0.7"), await own(bodies.changeSecretHash(1, 2n, rest), toNano("0.7")), client);
  row("client: increase stake", toNano("0.7"), await own(bodies.increaseClientStake(1, 2n * TON, rest), toNano("0.7")), client);
  row("client: withdraw", toNano("0.7"), await net.ownClient(client, OP.clientWithdraw), client);
  row("client: ask for a refund", toNano("0.7"), await net.ownClient(client, OP.clientRequestRefund), client);
  net.later(300);
  row("client: force a refund", toNano("0.7"), await net.ownClient(client, OP.clientRequestRefund), client);
  const second = await net.client("second");
  await net.topUp(second, 50n * TON);
  row("client: refund granted", toNano("0.5"), await net.grantRefund(second, 1_000_000n), second);

  row("proxy: part to its owner", toNano("0.2"), await net.toProxy(bodies.plain(OP.proxyPayTheOwner, 1, rest)), net.proxy);
  const stake = bodies.increaseProxyStake(1, TON, rest);
  row("proxy: increase stake", toNano("0.2") + TON, await net.toProxy(stake, { value: toNano("1.2") }), net.proxy);
  row("proxy: begin to close", toNano("0.2"), await net.close(OP.proxyClose), net.proxy);
  net.later(600);
  row("proxy: complete closing", toNano("0.2"), await net.close(OP.proxyCloseComplete), net.proxy);

  row("root: add a hash", toNano("0.1"), await net.toRoot(bodies.rootHash(OP.rootAddModelHash, 1, 5n)), net.root);
  row("root: register a proxy", toNano("0.1"), await net.toRoot(bodies.rootRegisterProxy(1, "10.0.0.1:1")), net.root);
  row("root: change terms", toNano("0.1"), await net.toRoot(bodies.rootChangeTerms(1, net.terms)), net.root);

  // What being there costs, of a message that nothing is done with.
  const fresh = await Net.open();
  const kept = { worker: await fresh.worker("worker"), client: await fresh.client("client"), proxy: fresh.proxy, root: fresh.root };
  fresh.later(365 * 24 * 60 * 60);
  for (const [name, contract] of Object.entries(kept)) {
    const trace = await fresh.send(rest, contract.address, TON, Cell.EMPTY);
    const fee = trace.transactions[0].description.storagePhase.storageFeesCollected;
    rows.push({
      operation: `${name}: stored for a year`,
      attached_nanoton: 0,
      gas_first: 0,
      gas_proxy: 0,
      fees_nanoton: Number(fee),
      stays_nanoton: 0,
    });
  }
  await net.assertNothingLost();
  return rows;
}

const ton = (nanoton) => (nanoton / 1e9).toFixed(6);

export function table(rows) {
  const lines = rows.map((r) => {
    const gas = r.gas_proxy ? `${r.gas_first} + ${r.gas_proxy}` : `${r.gas_first}`;
    const stays = r.stays_nanoton ? ton(r.stays_nanoton) : "";
    return `| ${r.operation} | ${ton(r.attached_nanoton)} | ${gas} | ${ton(r.fees_nanoton)} | ${stays} |`;
  });
  return `| operation | attached | gas: contract + proxy | fees | stays |\n|---|---|---|---|---|\n${lines.join("\n")}\n`;
}

export const figures = (rows) => JSON.stringify(rows, null, 2) + "\n";

/** The page with this table in the place of the one that is there. */
export function pageWith(page, rows) {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error("the page has no place for the table");
  return page.slice(0, begin + BEGIN.length) + table(rows) + page.slice(end);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const rows = await measure();
  writeFileSync(FIGURES, figures(rows));
  writeFileSync(PAGE, pageWith(readFileSync(PAGE, "utf8"), rows));
  console.log(table(rows));
}
