// The root: lists, proxies, terms, upgrades, and that nobody but its owner changes anything.

import assert from "node:assert/strict";
import { test } from "node:test";
import { beginCell, Dictionary, toNano } from "@ton/core";
import * as bodies from "./bodies.mjs";
import { CODE, EXIT, OP } from "./bodies.mjs";
import { Net, person, TON } from "./chain.mjs";

async function data(net) {
  const s = await net.read(net.root.address, "get_cocoon_data");
  const numbers = Array.from({ length: 9 }, () => s.readBigNumber());
  const names = ["version", "lastProxySeqno", "paramsVersion", "uniqueId", "isTest", "price", "fee", "proxyStake", "clientStake"];
  const owner = s.readAddress();
  assert.equal(s.remaining, 0);
  return { ...Object.fromEntries(names.map((name, i) => [name, numbers[i]])), owner };
}

async function params(net) {
  const s = await net.read(net.root.address, "get_cur_params");
  const numbers = Array.from({ length: 14 }, () => s.readBigNumber());
  assert.equal(s.remaining, 0);
  return numbers;
}

async function proxies(net) {
  const cell = (await net.chain.getContract(net.root.address)).accountState.state.data;
  const lists = cell.refs[0].beginParse();
  lists.loadMaybeRef();
  const found = lists.loadDict(Dictionary.Keys.Uint(32), {
    serialize: () => {},
    parse: (s) => [s.loadUint(1), s.loadBuffer(s.loadUint(7)).toString()],
  });
  return Object.fromEntries([...found].map(([seqno, [kind, words]]) => [seqno, (assert.equal(kind, 0), words)]));
}

const valid = async (net, list, hash) =>
  (await net.read(net.root.address, `${list}_hash_is_valid`, [{ type: "int", value: hash }])).readBoolean();

const hash = (code) => BigInt(`0x${code.hash().toString("hex")}`);

test("hashes of programs and models come and go", async () => {
  const net = await Net.open();
  const lists = [
    ["worker", OP.rootAddWorkerHash, OP.rootRemoveWorkerHash],
    ["model", OP.rootAddModelHash, OP.rootRemoveModelHash],
    ["proxy", OP.rootAddProxyHash, OP.rootRemoveProxyHash],
  ];
  let version = 1n;
  for (const [list, add, remove] of lists) {
    for (const value of [0n, 77n, 2n ** 256n - 1n]) {
      assert.equal(await valid(net, list, value), false);
      (await net.toRoot(bodies.rootHash(add, net.query(), value))).assertAllDone();
      assert.equal(await valid(net, list, value), true);
      for (const [other] of lists) if (other !== list) assert.equal(await valid(net, other, 77n), false);
      assert.equal((await data(net)).version, ++version);
    }
    for (const value of [0n, 77n, 77n, 2n ** 256n - 1n]) {
      (await net.toRoot(bodies.rootHash(remove, net.query(), value))).assertAllDone();
      assert.equal(await valid(net, list, value), false);
      version += 1n;
    }
  }
  await net.assertNothingLost();
});

test("proxies are registered, changed and taken off, and no number is given twice", async () => {
  const net = await Net.open();
  await net.toRoot(bodies.rootRegisterProxy(1, "10.0.0.1:1"));
  await net.toRoot(bodies.rootRegisterProxy(2, "10.0.0.2:1 10.0.0.2:2"));
  await net.toRoot(bodies.rootUpdateProxy(3, 1, "10.0.0.9:1"));
  assert.deepEqual(await proxies(net), { 1: "10.0.0.9:1", 2: "10.0.0.2:1 10.0.0.2:2" });
  await net.toRoot(bodies.rootUnregisterProxy(4, 2));
  assert.equal((await net.toRoot(bodies.rootUpdateProxy(5, 2, "x"))).exit(net.root.address), EXIT.noSuchProxy);
  await net.toRoot(bodies.rootRegisterProxy(6, "y"));
  assert.deepEqual(await proxies(net), { 1: "10.0.0.9:1", 3: "y" });
  assert.equal((await net.read(net.root.address, "last_proxy_seqno")).readNumber(), 3);
  for (const entry of [
    beginCell().storeUint(1, 1).storeUint(0, 7),
    beginCell().storeUint(0, 1).storeUint(2, 7).storeUint(65, 8),
    beginCell().storeUint(0, 1).storeUint(1, 7).storeUint(65, 9),
    beginCell().storeUint(0, 7),
  ]) {
    const body = bodies.body(OP.rootRegisterProxy, 1).storeBuilder(entry).endCell();
    assert.equal((await net.toRoot(body)).exit(net.root.address), EXIT.malformed);
  }
  await net.toRoot(bodies.rootHash(OP.rootAddWorkerHash, 1, 5n));
  await net.toRoot(bodies.body(OP.rootEmptyLists, 7).endCell());
  assert.equal(await valid(net, "worker", 5n), false);
  await net.toRoot(bodies.rootRegisterProxy(8, "z"));
  assert.equal((await data(net)).lastProxySeqno, 4n);
  await net.assertNothingLost();
});

test("prices, terms and codes change, and with each the version of the params grows", async () => {
  const net = await Net.open();
  assert.deepEqual(await params(net), [
    1n, 13n, 1n, 20n, 19n, 2500n, 10000n, 600n, 300n, TON, TON, hash(CODE.proxy), hash(CODE.worker), hash(CODE.client),
  ]);
  await net.toRoot(bodies.rootChangePrice(1, 40n, 38n));
  assert.deepEqual((await params(net)).slice(0, 5), [2n, 13n, 1n, 40n, 38n]);
  const changed = { ...net.terms, pricePerToken: 5n, workerFeePerToken: 4n, proxyDelay: 7, clientDelay: 6, minProxyStake: 3n, minClientStake: 2n };
  await net.toRoot(bodies.rootChangeTerms(2, changed));
  assert.deepEqual((await params(net)).slice(0, 11), [3n, 13n, 1n, 5n, 4n, 2500n, 10000n, 7n, 6n, 3n, 2n]);
  const all = { ...changed, promptMultiplier: 1, cachedMultiplier: 2, completionMultiplier: 3, reasoningMultiplier: 4 };
  await net.toRoot(bodies.rootChangeAllTerms(3, all));
  assert.deepEqual((await params(net)).slice(3, 7), [5n, 4n, 2n, 4n]);
  await net.toRoot(bodies.rootUpgradeContracts(4, CODE.worker, CODE.client, CODE.proxy));
  assert.deepEqual((await params(net)).slice(11), [hash(CODE.worker), hash(CODE.client), hash(CODE.proxy)]);
  const now = await data(net);
  assert.deepEqual([now.version, now.paramsVersion, now.price, now.fee, now.proxyStake, now.clientStake], [5n, 5n, 5n, 4n, 3n, 2n]);
  assert.equal((await net.toRoot(bodies.rootChangePrice(5, 1n, 2n))).exit(net.root.address), EXIT.malformed);
  // What is stored is the newest layout, read by the same builder that made the first.
  const stored = (await net.chain.getContract(net.root.address)).accountState.state.data.refs[1];
  const swapped = { proxy: CODE.worker, worker: CODE.client, client: CODE.proxy };
  const expected = bodies.terms({ ...all, paramsVersion: 5, codes: swapped }, "proxy", "worker", "client");
  assert(stored.equals(expected));
  await net.assertNothingLost();
});

test("terms of older layouts are read, and written in the newest", async () => {
  for (const layout of [0, 1, 2]) {
    const net = await Net.open({ layout, minProxyStake: 2n * TON, minClientStake: 3n * TON });
    const stakes = layout === 0 ? [TON, TON] : [2n * TON, 3n * TON];
    const cached = layout === 2 ? 2500n : 10000n;
    assert.deepEqual((await params(net)).slice(5, 11), [cached, 10000n, 600n, 300n, ...stakes]);
    await net.toRoot(bodies.rootChangePrice(1, 40n, 38n));
    assert.deepEqual((await params(net)).slice(0, 11), [2n, 13n, 1n, 40n, 38n, cached, 10000n, 600n, 300n, ...stakes]);
    const stored = (await net.chain.getContract(net.root.address)).accountState.state.data.refs[1];
    assert.equal(stored.beginParse().loadUint(8), 3);
  }
});

test("a root gets a new owner, new code, and code with data", async () => {
  const net = await Net.open();
  const next = person("next");
  await net.toRoot(bodies.rootChangeOwner(1, next));
  assert((await data(net)).owner.equals(next));
  const change = bodies.rootChangePrice(2, 1n, 1n);
  assert.equal((await net.toRoot(change)).exit(net.root.address), EXIT.notTheOwner);
  (await net.toRoot(change, { from: next })).assertAllDone();
  (await net.toRoot(bodies.rootUpgrade(3, CODE.root), { from: next })).assertAllDone();
  const fresh = bodies.rootContract(net.admin, net.terms, { 4: "a:1" });
  (await net.toRoot(bodies.rootUpgradeAll(4, fresh.init.data, CODE.root), { from: next })).assertAllDone();
  const now = await data(net);
  assert.deepEqual([now.version, now.lastProxySeqno], [1n, 4n]);
  assert(now.owner.equals(net.admin));
  await net.assertNothingLost();
});

test("only the owner changes a root, and gets the rest of the value back", async () => {
  const net = await Net.open();
  const before = (await net.chain.getContract(net.root.address)).accountState.state.data.hash();
  const everything = [
    ...[OP.rootAddWorkerHash, OP.rootRemoveWorkerHash, OP.rootAddModelHash, OP.rootRemoveModelHash, OP.rootAddProxyHash,
      OP.rootRemoveProxyHash].map((op) => bodies.rootHash(op, 1, 5n)),
    bodies.rootRegisterProxy(1, "a:1"),
    bodies.rootUnregisterProxy(1, 1),
    bodies.rootUpdateProxy(1, 1, "a:1"),
    bodies.rootChangePrice(1, 2n, 1n),
    bodies.rootChangeTerms(1, net.terms),
    bodies.rootChangeAllTerms(1, net.terms),
    bodies.rootUpgradeContracts(1, CODE.proxy, CODE.worker, CODE.client),
    bodies.rootUpgrade(1, CODE.worker),
    bodies.rootUpgradeAll(1, CODE.worker, CODE.worker),
    bodies.body(OP.rootEmptyLists, 1).endCell(),
    bodies.rootChangeOwner(1, person("thief")),
  ];
  for (const body of everything) {
    const trace = await net.toRoot(body, { from: person("thief") });
    assert.equal(trace.exit(net.root.address), EXIT.notTheOwner);
    assert.equal(trace.transactions.length, 2, "the money did not go back");
  }
  const unknown = await net.toRoot(bodies.body(0x12345678, 1).endCell());
  assert.equal(unknown.exit(net.root.address), EXIT.unknownOperation);
  const account = await net.chain.getContract(net.root.address);
  assert(account.accountState.state.data.hash().equals(before));
  assert(account.accountState.state.code.equals(CODE.root));
  const done = await net.toRoot(bodies.rootChangePrice(1, 2n, 1n), { value: TON });
  assert(done.rest(net.admin) > TON - toNano("0.02"));
  await net.assertNothingLost();
});
