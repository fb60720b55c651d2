// A message that does not get through loses nothing: what it would have moved is where it was, and can be asked for again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Address, beginCell, Cell, internal as relaxed, SendMode, toNano } from "@ton/core";
import { internal } from "@ton/sandbox";
import * as bodies from "./bodies.mjs";
import { EXIT, OP } from "./bodies.mjs";
import { Net, person, TON } from "./chain.mjs";

const rest = person("rest");
const WAY = toNano("0.03");
/** A place that no message reaches. */
const nowhere = new Address(5, person("nowhere").hash);

test("a payout the proxy's contract can't pay is due again, and paid when it can", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  const signed = net.signed(OP.workerPayout, worker.address, 500_000_000n);
  const failed = await net.send(worker.owner, worker.address, toNano("0.5"), signed);
  assert.equal(failed.exit(net.proxy.address), EXIT.lowBalance);
  assert.equal(failed.paid(worker.owner), 0n);
  assert(failed.rest(rest) > toNano("0.5") - WAY, "the rest did not come back");
  assert.equal((await net.workerData(worker)).tokens, 0n);
  await net.topUp(client, 10n * TON);
  const paid = await net.send(worker.owner, worker.address, toNano("0.5"), signed);
  assert.equal(paid.paid(worker.owner), 9_500_000_000n);
  assert.equal((await net.workerData(worker)).tokens, 500_000_000n);
  await net.assertNothingLost();
});

test("a total beyond all money is due again too", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  await net.topUp(client, 10n * TON);
  const trace = await net.payout(worker, 2n ** 64n - 1n);
  assert.equal(trace.exit(net.proxy.address), EXIT.lowBalance);
  assert.equal((await net.workerData(worker)).tokens, 0n);
  assert.equal((await net.payout(worker, 1_000n)).paid(worker.owner), 19_000n);
  // A client can be charged for it, as far as the balance goes.
  (await net.charge(client, 2n ** 64n - 1n)).assertAllDone();
  assert.equal((await net.clientData(client)).balance, 0n);
  await net.assertNothingLost();
});

test("without its proxy's contract a worker's account stays as it is", async () => {
  const net = await Net.open();
  const gone = person("no contract");
  for (const [act, op] of [["payout", OP.workerPayout], ["lastPayout", OP.workerLastPayout]]) {
    const owner = person(act);
    const worker = { owner, ...bodies.workerContract(owner, gone, net.key.publicKey, net.terms) };
    await net.send(owner, worker.address, toNano("0.3"), Cell.EMPTY, worker.init);
    const trace = await net[act](worker, 1_000n);
    assert.equal(trace.exit(gone), null, `${op}`);
    const data = await net.workerData(worker);
    assert.deepEqual([data.state, data.tokens], [0, 0n]);
    // A last payout gave the reserve away; what comes back fills it again.
    assert(trace.rest(rest) > toNano("0.5") - WAY);
    assert((await net.balance(worker.address)) >= toNano("0.11"));
  }
  await net.assertNothingLost();
});

test("a last payout to a proxy that is closed leaves the account open", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  await net.topUp(client, 10n * TON);
  await net.payout(worker, 1_000n);
  await net.close(OP.proxyClose);
  net.later(600);
  await net.close(OP.proxyCloseComplete);
  const trace = await net.lastPayout(worker, 2_000n);
  assert.equal(trace.exit(net.proxy.address), EXIT.closed);
  const data = await net.workerData(worker);
  assert.deepEqual([data.state, data.tokens], [0, 1_000n]);
  await net.assertNothingLost();
});

test("a payout that comes back behind a newer one that was paid takes only its own tokens off", async () => {
  const net = await Net.open();
  const worker = await net.worker("worker");
  await net.topUp(await net.client("client"), 10n * TON);
  // Both on their way at once: the first asks for more than there is, the second for a little more than the first.
  const many = await net.chain.treasury("two messages");
  net.minted += await net.balance(many.address);
  net.accounts.set(many.address.toString(), many.address);
  const bring = (total) => ({
    to: worker.address,
    value: toNano("0.5"),
    body: net.signed(OP.workerPayout, worker.address, total),
  });
  const messages = [bring(1_000_000_000n), bring(1_000_000_100n)].map((message) => relaxed({ bounce: true, ...message }));
  const trace = net.book(await many.sendMessages(messages, SendMode.PAY_GAS_SEPARATELY));
  assert.deepEqual(
    trace.at(net.proxy.address).map((tx) => tx.description.computePhase.exitCode),
    [EXIT.lowBalance, 0],
  );
  assert.equal(trace.paid(worker.owner), 1_900n);
  assert.equal((await net.workerData(worker)).tokens, 100n);
  await net.topUp(await net.client("richer"), 20n * TON);
  const later = await net.payout(worker, 1_000_000_100n);
  assert.equal(later.paid(worker.owner), 19_000_000_000n);
  await net.assertNothingLost();
});

test("money for a proxy that is closing goes back to whoever gets the rest", async () => {
  const net = await Net.open();
  const client = await net.client("client");
  await net.topUp(client, 2n * TON);
  await net.close(OP.proxyClose);
  const trace = await net.topUp(client, 10n * TON);
  assert.equal(trace.exit(net.proxy.address), EXIT.closed);
  assert(trace.rest(rest) > toNano("10.7") - WAY);
  assert.equal((await net.clientData(client)).balance, 2n * TON);
  await net.assertNothingLost();
});

test("a refund the proxy's contract can't pay is the client's still", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  await net.topUp(client, 10n * TON);
  await net.payout(worker, 500_000_000n);
  const withdrawn = await net.ownClient(client, OP.clientWithdraw);
  assert.equal(withdrawn.exit(net.proxy.address), EXIT.lowBalance);
  assert.equal((await net.clientData(client)).balance, 10n * TON);
  const granted = await net.grantRefund(client, 10n);
  assert.equal(granted.exit(net.proxy.address), EXIT.lowBalance);
  let data = await net.clientData(client);
  assert.deepEqual([data.state, data.balance, data.tokensUsed], [1, 10n * TON - 200n, 10n]);
  const forced = await net.ownClient(client, OP.clientRequestRefund);
  assert.equal(forced.exit(net.proxy.address), EXIT.lowBalance);
  data = await net.clientData(client);
  assert.deepEqual([data.state, data.balance], [1, 10n * TON - 200n]);
  await net.topUp(await net.client("other"), 20n * TON);
  const paid = await net.ownClient(client, OP.clientRequestRefund);
  assert.equal(paid.paid(client.owner), 10n * TON - 200n);
  data = await net.clientData(client);
  assert.deepEqual([data.state, data.balance], [2, 0n]);
  await net.assertNothingLost();
});

test("where the rest can't be sent, the owner is paid all the same", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  await net.topUp(client, 10n * TON);
  const trace = await net.payout(worker, 1_000n, { excessesTo: nowhere });
  assert.equal(trace.paid(worker.owner), 19_000n);
  assert.equal((await net.workerData(worker)).tokens, 1_000n);
  await net.charge(client, 10n, { excessesTo: nowhere });
  assert.equal((await net.clientData(client)).tokensUsed, 10n);
  await net.assertNothingLost();
});

test("an owner who can't be reached is not paid, and what is due stays due", async () => {
  const net = await Net.open();
  await net.topUp(await net.client("client"), 10n * TON);
  const made = bodies.workerContract(nowhere, net.proxy.address, net.key.publicKey, net.terms);
  const worker = { owner: nowhere, ...made };
  await net.send(person("anybody"), made.address, toNano("0.3"), Cell.EMPTY, made.init);
  const trace = await net.payout(worker, 1_000n, { from: person("anybody") });
  assert.equal(trace.at(net.proxy.address)[0].description.actionPhase.success, false);
  assert.equal((await net.workerData(worker)).tokens, 0n);
  assert(trace.rest(rest) > toNano("0.5") - WAY);
  await net.assertNothingLost();
});

/** What the chain makes of a message that bounces, with the whole of its body. */
function bouncedBody(original) {
  const info = beginCell().storeCoins(TON).storeBit(0).storeUint(1, 64).storeUint(1_800_000_000, 32).endCell();
  const body = beginCell().storeUint(0xfffffffe, 32).storeRef(original).storeRef(info).storeUint(1, 8).storeInt(1001, 32);
  return body.storeBit(1).storeUint(5_000, 32).storeUint(100, 32).endCell();
}

test("only what bounced off the proxy's own contract is undone", async () => {
  const net = await Net.open();
  const [client, worker] = [await net.client("client"), await net.worker("worker")];
  await net.topUp(client, 10n * TON);
  await net.payout(worker, 1_000n);
  const payout = beginCell().storeUint(0x08e7d036, 32).storeCoins(19_000n).storeCoins(1_000n).storeAddress(rest).endCell();
  const request = bodies.body(OP.workerRequest, 1n).storeAddress(worker.owner).storeUint(0, 2).storeUint(1_000n, 64);
  const topUp = beginCell().storeUint(0x5cfc6b87, 32).storeCoins(TON).storeAddress(rest).endCell();
  const standing = beginCell().storeUint(0, 2).storeCoins(0).storeCoins(0).storeUint(0, 64).storeUint(0, 256).endCell();
  const asked = bodies.body(OP.clientRequest, 1n).storeAddress(client.owner).storeRef(standing).storeMaybeRef(topUp);
  const returned = [
    [worker, bouncedBody(request.storeMaybeRef(payout).endCell())],
    [client, bouncedBody(asked.endCell())],
  ];
  const state = async () => [(await net.workerData(worker)).tokens, (await net.clientData(client)).balance];
  // On a chain nobody can send these: here it can be tried.
  for (const [from, expected] of [
    [person("stranger"), [1_000n, 10n * TON]],
    [worker.owner, [1_000n, 10n * TON]],
    [net.proxy.address, [0n, 9n * TON]],
  ]) {
    for (const [contract, body] of returned) {
      net.minted += TON;
      const sent = internal({ from, to: contract.address, value: TON, body, bounce: false, bounced: true });
      assert.equal(net.book(await net.chain.sendMessage(sent)).exit(contract.address), 0);
    }
    assert.deepEqual(await state(), expected);
  }
  await net.assertNothingLost();
});
