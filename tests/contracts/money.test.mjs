// What each operation moves, and to whom.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Cell, toNano } from "@ton/core";
import * as bodies from "./bodies.mjs";
import { EXIT, OP } from "./bodies.mjs";
import { Net, person, TON } from "./chain.mjs";

const rest = person("rest");
/** What a message may cost at most; the rest comes back. */
const WAY = toNano("0.02");

function assertRestCameBack(trace, value, moved = 0n) {
  const back = trace.rest(rest);
  assert(back > value - moved - WAY && back < value - moved, `${back} of ${value} came back`);
}

test("a top-up reaches the proxy's contract whole, and the rest comes back", async () => {
  const net = await Net.open();
  const client = await net.client("client");
  const before = await net.balance(net.proxy.address);
  const trace = await net.topUp(client, 10n * TON);
  trace.assertAllDone();
  assert.equal((await net.clientData(client)).balance, 10n * TON);
  assert.equal(await net.balance(net.proxy.address), before + 10n * TON);
  assertRestCameBack(trace, toNano("10.7"), 10n * TON);
  // Anybody may pay for somebody.
  (await net.topUp(client, TON, { from: person("friend") })).assertAllDone();
  const both = bodies.topUpWithSecretHash(net.query(), 2n * TON, 77n, rest);
  (await net.send(client.owner, client.address, toNano("2.7"), both)).assertAllDone();
  const data = await net.clientData(client);
  assert.equal(data.balance, 13n * TON);
  assert.equal(data.secretHash, 77n);
  await net.assertNothingLost();
});

test("a charge takes what was used, never more than there is, and moves no money", async () => {
  const net = await Net.open();
  const client = await net.client("client");
  await net.topUp(client, 10n * TON);
  const there = await net.balance(net.proxy.address);
  const trace = await net.charge(client, 100_000_000n);
  trace.assertAllDone();
  assertRestCameBack(trace, toNano("0.5"));
  let data = await net.clientData(client);
  assert.equal(data.balance, 8n * TON);
  assert.equal(data.tokensUsed, 100_000_000n);
  // The proxy sees how the account stands: one nanoton with it, for which nothing is computed.
  assert.equal(trace.exit(net.proxy.address), null);
  assert.equal(await net.balance(net.proxy.address), there + 1n);
  await net.charge(client, 1_000_000_000n);
  data = await net.clientData(client);
  assert.equal(data.balance, 0n);
  assert.equal(data.tokensUsed, 1_000_000_000n);
  await net.assertNothingLost();
});

test("a payout is what was signed times the fee, to the owner alone, whoever brings it", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  await net.topUp(client, 30n * TON);
  const there = await net.balance(net.proxy.address);
  const trace = await net.payout(worker, 300_000_000n, { from: person("anybody") });
  trace.assertAllDone();
  assert.equal(trace.paid(worker.owner), 5_700_000_000n);
  assert.equal(trace.arrived(worker.owner), 5_700_000_000n);
  assertRestCameBack(trace, toNano("0.5"));
  assert.equal(await net.balance(net.proxy.address), there - 5_700_000_000n);
  // The difference to the price is the proxy's.
  assert.equal((await net.proxyData()).balance, 300_000_000n);
  // The next total contains the one before.
  const next = await net.payout(worker, 300_000_001n);
  assert.equal(next.paid(worker.owner), 19n);
  assert.equal((await net.workerData(worker)).tokens, 300_000_001n);
  await net.assertNothingLost();
});

test("a payout with the deployment in one message keeps the reserve and pays the rest back", async () => {
  const net = await Net.open();
  const client = await net.client("client");
  await net.topUp(client, 30n * TON);
  const owner = person("worker");
  const worker = { owner, ...bodies.workerContract(owner, net.proxy.address, net.key.publicKey, net.terms) };
  const signed = net.signed(OP.workerPayout, worker.address, 1_000n);
  const trace = await net.send(owner, worker.address, toNano("0.2"), signed, worker.init, false);
  trace.assertAllDone();
  assert.equal(trace.paid(owner), 19_000n);
  assert.equal(await net.balance(worker.address), toNano("0.11"));
  await net.assertNothingLost();
});

test("the last payout closes the account and gives its reserve back", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  await net.topUp(client, 30n * TON);
  await net.payout(worker, 1_000n);
  const trace = await net.lastPayout(worker, 1_000n);
  trace.assertAllDone();
  assert.equal(trace.paid(worker.owner), 0n);
  assert(trace.rest(rest) > toNano("0.5") + toNano("0.1"), "the reserve did not come back");
  assert.equal(await net.balance(worker.address), toNano("0.01"));
  assert.equal((await net.workerData(worker)).state, 2);
  await net.assertNothingLost();
});

test("a withdrawal is what is above the stake", async () => {
  const net = await Net.open();
  const client = await net.client("client");
  await net.topUp(client, 10n * TON);
  const trace = await net.ownClient(client, OP.clientWithdraw);
  trace.assertAllDone();
  assert.equal(trace.paid(client.owner), 9n * TON);
  assertRestCameBack(trace, toNano("0.7"));
  assert.equal((await net.clientData(client)).balance, TON);
  await net.assertNothingLost();
});

test("a refund that the proxy grants closes the account and leaves out what was used", async () => {
  const net = await Net.open();
  const client = await net.client("client");
  await net.topUp(client, 10n * TON);
  const trace = await net.grantRefund(client, 100_000_000n);
  trace.assertAllDone();
  assert.equal(trace.paid(client.owner), 8n * TON);
  const data = await net.clientData(client);
  assert.deepEqual([data.state, data.balance, data.tokensUsed], [2, 0n, 100_000_000n]);
  assert.equal(await net.balance(client.address), toNano("0.01"));
  await net.assertNothingLost();
});

test("a refund the proxy does not answer is paid whole after the delay, from its stake first", async () => {
  const net = await Net.open();
  const client = await net.client("client");
  await net.topUp(client, 10n * TON);
  const stake = bodies.increaseProxyStake(net.query(), 600_000_000n, rest);
  (await net.toProxy(stake, { value: toNano("0.8") })).assertAllDone();
  assert.equal((await net.proxyData()).stake, 600_000_000n);
  const asked = await net.ownClient(client, OP.clientRequestRefund);
  asked.assertAllDone();
  assert.equal(asked.paid(client.owner), 9n * TON);
  let data = await net.clientData(client);
  assert.deepEqual([data.state, data.balance, data.unlockAt], [1, TON, net.chain.now + 300]);
  net.later(299);
  assert.equal((await net.ownClient(client, OP.clientRequestRefund)).exit(client.address), EXIT.tooEarly);
  net.later(1);
  const forced = await net.ownClient(client, OP.clientRequestRefund);
  forced.assertAllDone();
  assert.equal(forced.paid(client.owner), TON);
  data = await net.clientData(client);
  assert.deepEqual([data.state, data.balance], [2, 0n]);
  assert.equal((await net.proxyData()).stake, 0n);
  await net.assertNothingLost();
});

test("a refund asked for below the stake begins the closing and moves nothing", async () => {
  const net = await Net.open();
  const client = await net.client("client");
  await net.topUp(client, TON / 2n);
  const asked = await net.ownClient(client, OP.clientRequestRefund);
  assert.equal(asked.paid(client.owner), 0n);
  assert.equal((await net.clientData(client)).state, 1);
  // While it closes, the proxy may still charge and grant.
  (await net.charge(client, 1_000_000n)).assertAllDone();
  const granted = await net.grantRefund(client, 2_000_000n);
  assert.equal(granted.paid(client.owner), TON / 2n - 40_000_000n);
  await net.assertNothingLost();
});

test("an owner registers, sets a secret and raises the stake; the proxy sees it", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  const registered = await net.send(client.owner, client.address, TON, bodies.register(net.query(), 4711n, rest));
  registered.assertAllDone();
  assertRestCameBack(registered, TON);
  const seen = registered.at(net.proxy.address)[0].inMessage.body.beginParse().skip(96);
  assert(seen.loadAddress().equals(client.owner));
  const order = seen.skip(1).loadRef();
  assert.equal(order.bits.length, 2 + 4 + 36 + 64 + 256);
  const nonce = seen.loadRef().beginParse();
  assert.deepEqual([nonce.loadUint(32), nonce.loadUint(64), nonce.remainingBits], [0xa35cb580, 4711, 0]);

  const secret = bodies.changeSecretHash(net.query(), 99n, rest);
  (await net.send(client.owner, client.address, toNano("0.7"), secret)).assertAllDone();
  const stake = bodies.increaseClientStake(net.query(), 3n * TON, rest);
  (await net.send(client.owner, client.address, toNano("0.7"), stake)).assertAllDone();
  const data = await net.clientData(client);
  assert.deepEqual([data.secretHash, data.stake, data.rest], [99n, 3n * TON, 0]);

  const shown = await net.send(worker.owner, worker.address, TON, bodies.plain(OP.workerRegister, net.query(), rest));
  shown.assertAllDone();
  assert.equal(shown.at(net.proxy.address)[0].inMessage.body.beginParse().preloadUint(32), OP.workerRequest);
  await net.assertNothingLost();
});

test("the proxy's part goes to its owner and its stake stays", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  await net.topUp(client, 30n * TON);
  await net.payout(worker, 1_000_000_000n);
  assert.equal((await net.proxyData()).balance, TON);
  const trace = await net.toProxy(bodies.plain(OP.proxyPayTheOwner, net.query(), rest), { from: person("anybody") });
  trace.assertAllDone();
  assert.equal(trace.paid(net.operator), TON);
  assert.equal((await net.proxyData()).balance, 0n);
  await net.payout(worker, 1_100_000_000n);
  const byText = await net.toProxy(bodies.text("w"));
  byText.assertAllDone();
  assert.equal(byText.paid(net.operator), TON / 10n);
  await net.assertNothingLost();
});

test("a proxy closes after its delay, pays until then and gives all to its owner", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  await net.topUp(client, 30n * TON);
  (await net.close(OP.proxyClose)).assertAllDone();
  let data = await net.proxyData();
  assert.deepEqual([data.state, data.unlockAt], [1, net.chain.now + 600]);
  assert.equal((await net.payout(worker, 1_000_000n)).paid(worker.owner), 19_000_000n);
  assert.equal((await net.ownClient(client, OP.clientWithdraw)).paid(client.owner), 29n * TON);
  assert.equal((await net.grantRefund(client, 0n)).paid(client.owner), TON);
  net.later(599);
  assert.equal((await net.close(OP.proxyCloseComplete)).exit(net.proxy.address), EXIT.tooEarly);
  net.later(1);
  const there = await net.balance(net.proxy.address);
  const done = await net.close(OP.proxyCloseComplete);
  done.assertAllDone();
  assert(done.paid(net.operator) > there - WAY);
  assert.equal(await net.balance(net.proxy.address), toNano("0.01"));
  data = await net.proxyData();
  assert.deepEqual([data.state, data.balance, data.stake, data.unlockAt], [2, 0n, 0n, 0]);
  // What comes in later can still be taken out.
  await net.send(person("anybody"), net.proxy.address, TON, bodies.body(OP.doNotProcess, 0).endCell());
  assert((await net.toProxy(bodies.text("w"))).paid(net.operator) > TON);
  await net.assertNothingLost();
});

test("the owner of a proxy closes it by message and by text", async () => {
  for (const body of [bodies.plain(OP.proxyOwnerClose, 1, rest), bodies.text("c")]) {
    const net = await Net.open();
    (await net.toProxy(body)).assertAllDone();
    assert.equal((await net.proxyData()).state, 1);
    await net.assertNothingLost();
  }
});

test("what is not to be worked on is taken without a word", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  for (const to of [client.address, worker.address, net.proxy.address, net.root.address]) {
    for (const body of [bodies.body(OP.doNotProcess, 7).endCell(), Cell.EMPTY]) {
      const trace = await net.send(person("anybody"), to, TON, body);
      assert.equal(trace.exit(to), 0);
      assert.equal(trace.transactions.length, 1);
    }
  }
  await net.assertNothingLost();
});

test("every known layout of the terms pays alike", async () => {
  for (const layout of [0, 1, 2, 3]) {
    const net = await Net.open({ layout });
    const [client, worker] = [await net.client("client"), await net.worker("worker")];
    assert.equal((await net.topUp(client, 10n * TON)).exit(net.proxy.address), 0, `layout ${layout}`);
    assert.equal((await net.payout(worker, 1_000n)).paid(worker.owner), 19_000n, `layout ${layout}`);
    const asked = await net.ownClient(client, OP.clientRequestRefund);
    assert.equal(asked.paid(client.owner), 9n * TON);
    assert.equal((await net.clientData(client)).unlockAt, net.chain.now + 300);
    await net.assertNothingLost();
  }
});
