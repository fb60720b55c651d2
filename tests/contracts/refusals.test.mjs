// Every refusal by its exit code. Whoever is refused gets the money of the message back, and nothing has changed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { beginCell, Cell, toNano } from "@ton/core";
import * as bodies from "./bodies.mjs";
import { EXIT, OP } from "./bodies.mjs";
import { keys, Net, person, TON, Trace } from "./chain.mjs";

const rest = person("rest");
const stranger = person("stranger");

/** Does what is to be refused, and compares what is there before and after. */
async function refused(net, contract, exit, act, words = "") {
  const stored = async () => (await net.chain.getContract(contract.address)).accountState?.state?.data?.hash().toString("hex");
  const before = await stored();
  const trace = await act();
  assert(trace instanceof Trace);
  assert.equal(trace.exit(contract.address), exit, words);
  const there = trace.at(contract.address)[0].inMessage.info.value.coins;
  const bounced = trace.transactions.filter((tx) => tx.inMessage.info.bounced);
  assert.equal(bounced.length, 1, "the money did not go back");
  assert(bounced[0].inMessage.info.value.coins > there - toNano("0.01"), words);
  assert.equal(await stored(), before, `something changed: ${words}`);
  await net.assertNothingLost();
}

async function opened(changes) {
  const net = await Net.open(changes);
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  await net.topUp(client, 30n * TON);
  return { net, client, worker };
}

test("a worker's contract refuses totals that are not newer, and takes an equal one only as the last", async () => {
  const { net, worker } = await opened();
  await net.payout(worker, 1_000n);
  for (const total of [0n, 1n, 999n, 1_000n]) {
    await refused(net, worker, EXIT.olderTokens, () => net.payout(worker, total), `${total}`);
  }
  await refused(net, worker, EXIT.olderTokens, () => net.lastPayout(worker, 999n));
  const once = net.signed(OP.workerPayout, worker.address, 2_000n);
  assert.equal((await net.send(stranger, worker.address, TON, once)).paid(worker.owner), 19_000n);
  await refused(net, worker, EXIT.olderTokens, () => net.send(stranger, worker.address, TON, once), "replayed");
});

test("a worker's contract refuses what brings too little, and fills its reserve first", async () => {
  const { net, worker } = await opened();
  for (const value of [toNano("0.05"), toNano("0.1")]) {
    await refused(net, worker, EXIT.lowValue, () => net.payout(worker, 1_000n, { value }));
    await refused(net, worker, EXIT.lowValue, () => net.lastPayout(worker, 1_000n, { value }));
  }
  assert.equal((await net.payout(worker, 1_000n, { value: toNano("0.1") + 1n })).paid(worker.owner), 19_000n);
  const poor = { owner: person("poor"), ...bodies.workerContract(person("poor"), net.proxy.address, net.key.publicKey, net.terms) };
  await net.send(poor.owner, poor.address, toNano("0.005"), Cell.EMPTY, poor.init);
  await refused(net, poor, EXIT.lowBalance, () => net.payout(poor, 1_000n, { value: toNano("0.11") }));
});

test("a signature of somebody else, of other words or for another contract is refused", async () => {
  const { net, client, worker } = await opened();
  const other = await net.worker("other");
  const foreign = keys("somebody");
  const cases = [
    [worker, OP.workerPayout],
    [worker, OP.workerLastPayout],
    [client, OP.clientCharge],
    [client, OP.clientGrantRefund],
  ];
  for (const [contract, op] of cases) {
    const bring = (query, rests) => () =>
      net.send(stranger, contract.address, TON, net.signed(op, contract.address, 1_000n, { query, ...rests }));
    await refused(net, contract, EXIT.badSignature, bring(1n, { key: foreign }));
    const part = (...words) => ({ part: bodies.signedPart(...words) });
    await refused(net, contract, EXIT.malformedSigned, bring(1n, part(op, 2n, 1_000n, contract.address)), "another query");
    await refused(net, contract, EXIT.malformedSigned, bring(1n, part(0x1234, 1n, 1_000n, contract.address)), "another operation");
    await refused(net, contract, EXIT.malformedSigned, bring(1n, part(op, 1n, null, contract.address)), "no total");
    await refused(net, contract, EXIT.foreignPayment, bring(1n, part(op, 1n, 1_000n, other.address)), "another contract");
    const longer = bodies.body(op, 1n).storeUint(1_000n, 64).storeAddress(contract.address).storeUint(0, 1).endCell();
    await refused(net, contract, EXIT.malformedSigned, bring(1n, { part: longer }), "a bit more");
    const deeper = bodies.body(op, 1n).storeUint(1_000n, 64).storeAddress(contract.address).storeRef(Cell.EMPTY).endCell();
    await refused(net, contract, EXIT.malformedSigned, bring(1n, { part: deeper }), "a reference more");
    const whole = net.signed(op, contract.address, 1_000n);
    for (const body of [
      beginCell().storeSlice(whole.beginParse()).storeUint(0, 1).endCell(),
      beginCell().storeBits(whole.bits).endCell(),
      beginCell().storeBits(whole.bits).storeRef(whole.refs[0]).storeRef(Cell.EMPTY).endCell(),
      bodies.body(op, 1n).endCell(),
    ]) {
      await refused(net, contract, EXIT.malformed, () => net.send(stranger, contract.address, TON, body), "cut or grown");
    }
  }
  for (const op of [OP.proxyClose, OP.proxyCloseComplete]) {
    await refused(net, net.proxy, EXIT.badSignature, () => net.close(op, { key: foreign }));
    await refused(net, net.proxy, EXIT.foreignPayment, () => net.close(op, { contract: worker.address }));
  }
  // A charge is no payout, though signed by the same key.
  const part = bodies.signedPart(OP.clientCharge, 5n, 1_000n, worker.address);
  const body = bodies.signed(OP.workerPayout, 5n, part, rest, net.key.secretKey);
  await refused(net, worker, EXIT.malformedSigned, () => net.send(stranger, worker.address, TON, body));
});

test("closed accounts refuse everything", async () => {
  const { net, client, worker } = await opened();
  await net.lastPayout(worker, 1_000n);
  await refused(net, worker, EXIT.closed, () => net.payout(worker, 2_000n));
  await refused(net, worker, EXIT.closed, () => net.lastPayout(worker, 2_000n));
  const shown = bodies.plain(OP.workerRegister, 1n, rest);
  await refused(net, worker, EXIT.closed, () => net.send(worker.owner, worker.address, TON, shown));
  await net.grantRefund(client, 1_000n);
  for (const act of [
    () => net.topUp(client, TON),
    () => net.charge(client, 2_000n),
    () => net.grantRefund(client, 2_000n),
    () => net.ownClient(client, OP.clientWithdraw),
    () => net.ownClient(client, OP.clientRequestRefund),
    () => net.send(client.owner, client.address, TON, bodies.register(1n, 2n, rest)),
  ]) {
    await refused(net, client, EXIT.closed, act);
  }
  await net.close(OP.proxyClose);
  await refused(net, net.proxy, EXIT.closed, () => net.close(OP.proxyClose));
  await refused(net, net.proxy, EXIT.closed, () => net.toProxy(bodies.plain(OP.proxyOwnerClose, 1n, rest)));
  await refused(net, net.proxy, EXIT.closed, () => net.toProxy(bodies.text("c")));
  net.later(600);
  await net.close(OP.proxyCloseComplete);
  for (const act of [
    () => net.close(OP.proxyCloseComplete),
    () => net.toProxy(bodies.plain(OP.proxyPayTheOwner, 1n, rest)),
    () => net.toProxy(bodies.increaseProxyStake(1n, TON, rest), { value: 2n * TON }),
  ]) {
    await refused(net, net.proxy, EXIT.closed, act);
  }
});

test("a proxy that was not asked to close can't be closed", async () => {
  const { net } = await opened();
  await refused(net, net.proxy, EXIT.closed, () => net.close(OP.proxyCloseComplete));
});

test("what is the owner's is refused to everybody else", async () => {
  const { net, client, worker } = await opened();
  const value = toNano("2.7");
  for (const body of [
    bodies.register(1n, 2n, rest),
    bodies.changeSecretHash(1n, 2n, rest),
    bodies.increaseClientStake(1n, 5n * TON, rest),
    bodies.topUpWithSecretHash(1n, TON, 2n, rest),
  ]) {
    await refused(net, client, EXIT.notTheOwner, () => net.send(stranger, client.address, value, body));
  }
  for (const op of [OP.clientWithdraw, OP.clientRequestRefund]) {
    await refused(net, client, EXIT.ownersMoney, () => net.ownClient(client, op, { from: stranger }));
  }
  const shown = bodies.plain(OP.workerRegister, 1n, rest);
  await refused(net, worker, EXIT.notTheOwner, () => net.send(stranger, worker.address, TON, shown));
  for (const body of [bodies.plain(OP.proxyOwnerClose, 1n, rest), bodies.text("c"), bodies.text("w")]) {
    await refused(net, net.proxy, EXIT.notTheOwner, () => net.toProxy(body, { from: stranger }));
  }
  await refused(net, net.proxy, EXIT.unknownText, () => net.toProxy(bodies.text("x")));
});

test("a client's contract refuses what brings or has too little", async () => {
  const { net, client } = await opened();
  const low = toNano("0.1") - 1n;
  for (const act of [
    () => net.topUp(client, TON, { value: TON + low }),
    () => net.charge(client, 1_000n, { value: low }),
    () => net.grantRefund(client, 1_000n, { value: low }),
    () => net.ownClient(client, OP.clientWithdraw, { value: low }),
    () => net.ownClient(client, OP.clientRequestRefund, { value: low }),
    () => net.send(client.owner, client.address, low, bodies.register(1n, 2n, rest)),
    () => net.send(client.owner, client.address, TON, bodies.increaseClientStake(1n, TON, rest)),
  ]) {
    await refused(net, client, EXIT.lowValue, act);
  }
  await net.ownClient(client, OP.clientWithdraw);
  await refused(net, client, EXIT.lowBalance, () => net.ownClient(client, OP.clientWithdraw));
  const poor = { owner: person("poor"), ...bodies.clientContract(person("poor"), net.proxy.address, net.key.publicKey, net.terms) };
  await net.send(poor.owner, poor.address, toNano("0.005"), Cell.EMPTY, poor.init);
  await refused(net, poor, EXIT.lowBalance, () => net.topUp(poor, TON, { value: toNano("1.1") }));
  await net.ownClient(client, OP.clientRequestRefund);
  await refused(net, client, EXIT.closed, () => net.ownClient(client, OP.clientWithdraw));
  await refused(net, client, EXIT.tooEarly, () => net.ownClient(client, OP.clientRequestRefund));
});

test("a client is not charged twice for the same total", async () => {
  const { net, client } = await opened();
  await net.charge(client, 1_000n);
  for (const total of [0n, 999n, 1_000n]) {
    await refused(net, client, EXIT.olderTokens, () => net.charge(client, total));
  }
  await refused(net, client, EXIT.olderTokens, () => net.grantRefund(client, 999n));
});

test("a proxy's contract pays nobody who is not what he says", async () => {
  const { net, client, worker } = await opened();
  const order = beginCell().storeUint(0x08e7d036, 32).storeCoins(TON).storeCoins(0).storeAddress(rest).endCell();
  const asWorker = (owner) =>
    bodies.body(OP.workerRequest, 1n).storeAddress(owner).storeUint(0, 2).storeUint(9, 64).storeMaybeRef(order).endCell();
  for (const from of [stranger, worker.owner, client.address, net.operator]) {
    await refused(net, net.proxy, EXIT.foreignContract, () => net.send(from, net.proxy.address, TON, asWorker(worker.owner)));
  }
  const standing = beginCell().storeUint(0, 2).storeCoins(0).storeCoins(0).storeUint(0, 64).storeUint(0, 256).endCell();
  for (const kind of [0x5cfc6b87, 0xc68ebc7b, 0xf4c354c9]) {
    const refund = beginCell().storeUint(kind, 32).storeCoins(TON).storeAddress(rest).endCell();
    const asClient = bodies.body(OP.clientRequest, 1n).storeAddress(client.owner).storeRef(standing).storeMaybeRef(refund);
    await refused(net, net.proxy, EXIT.foreignContract, () => net.send(stranger, net.proxy.address, TON, asClient.endCell()));
  }
  // Another worker's contract can't speak for this owner, nor a worker's contract as a client's.
  const other = await net.worker("other");
  await refused(net, net.proxy, EXIT.foreignContract, () => net.send(other.address, net.proxy.address, TON, asWorker(worker.owner)));
});

test("a proxy's contract refuses too little, and does not touch its stake for its owner", async () => {
  const { net, worker } = await opened();
  const low = toNano("0.1") - 1n;
  for (const act of [
    () => net.close(OP.proxyClose, { value: low }),
    () => net.toProxy(bodies.plain(OP.proxyPayTheOwner, 1n, rest), { value: low }),
    () => net.toProxy(bodies.text("w"), { value: low }),
    () => net.toProxy(bodies.increaseProxyStake(1n, TON, rest), { value: TON + low }),
  ]) {
    await refused(net, net.proxy, EXIT.lowValue, act);
  }
  await net.toProxy(bodies.increaseProxyStake(1n, TON, rest), { value: 2n * TON });
  await net.payout(worker, 1_560_000_000n);
  assert.equal((await net.proxyData()).balance, 1_560_000_000n);
  await refused(net, net.proxy, EXIT.lowBalance, () => net.toProxy(bodies.plain(OP.proxyPayTheOwner, 1n, rest)));
});

test("operations nobody knows are refused, and bodies that are cut or too long", async () => {
  const { net, client, worker } = await opened();
  for (const contract of [client, worker, net.proxy]) {
    const send = (body) => () => net.send(stranger, contract.address, TON, body);
    await refused(net, contract, EXIT.unknownOperation, send(bodies.body(0x12345678, 1n).endCell()));
    // Fewer bits than an operation has, and fewer than the operation needs: the machine's own word for it.
    await refused(net, contract, 9, send(beginCell().storeUint(1, 31).endCell()));
  }
  const longer = beginCell().storeSlice(bodies.topUp(1n, TON, rest).beginParse()).storeUint(0, 1).endCell();
  await refused(net, client, 9, () => net.send(stranger, client.address, 2n * TON, longer));
  await refused(net, client, 9, () => net.send(stranger, client.address, 2n * TON, bodies.body(OP.clientTopUp, 1n).endCell()));
  // Builders of genuine programs leave the stake out of this one.
  await refused(net, client, 9, () => net.ownClient(client, OP.clientIncreaseStake));
  // Reopening is in the list of operations, and no contract takes it.
  await refused(net, client, EXIT.unknownOperation, () => net.ownClient(client, 0x29111ceb));
});

test("terms of a layout that is not known are refused", async () => {
  const net = await Net.open({ layout: 4 });
  const worker = await net.worker("worker");
  await refused(net, worker, EXIT.unknownLayout, () => net.payout(worker, 1_000n));
});
