// A small network on the sandbox: a proxy with its contract, workers, clients, and the books of all money that came in.

import assert from "node:assert/strict";
import { Address, Cell, toNano } from "@ton/core";
import { keyPairFromSeed, sha256_sync } from "@ton/crypto";
import { Blockchain, internal } from "@ton/sandbox";
import * as bodies from "./bodies.mjs";

const { OP } = bodies;
export const TON = 1_000_000_000n;
const EMPTY = new Cell();

/** An address nobody has a key for; money sent there stays to be counted. */
export const person = (name) => new Address(0, sha256_sync(name));
export const keys = (name) => keyPairFromSeed(sha256_sync(name));

export class Net {
  /** Deploys root and proxy. Everything else is made when it is asked for. */
  static async open(changes = {}) {
    const net = new Net();
    net.chain = await Blockchain.create({ config: "slim" });
    net.chain.now = 1_800_000_000;
    net.minted = 0n;
    net.fees = 0n;
    net.accounts = new Map();
    net.queries = 0n;
    net.terms = { ...bodies.TERMS, ...changes };
    net.key = keys("proxy");
    net.admin = person("admin");
    net.operator = person("operator");
    net.root = bodies.rootContract(net.admin, net.terms);
    net.proxy = bodies.proxyContract(net.operator, net.key.publicKey, net.root.address, net.terms);
    await net.send(net.admin, net.root.address, toNano("0.1"), EMPTY, net.root.init);
    await net.send(net.operator, net.proxy.address, toNano("0.3"), EMPTY, net.proxy.init);
    return net;
  }

  query() {
    return ++this.queries;
  }

  /** Brings a message from nowhere and follows it to its end. */
  async send(from, to, value, body, init, bounce = true) {
    const result = await this.chain.sendMessage(internal({ from, to, value, body, stateInit: init, bounce }));
    this.minted += value;
    return this.book(result);
  }

  /** Adds the fees and the accounts of a result to the books. */
  book(result) {
    for (const tx of result.transactions) {
      this.fees += tx.totalFees.coins;
      if (tx.inMessage?.info.type === "internal") this.fees += tx.inMessage.info.forwardFee;
      const address = new Address(0, Buffer.from(tx.address.toString(16).padStart(64, "0"), "hex"));
      this.accounts.set(address.toString(), address);
    }
    return new Trace(result.transactions);
  }

  async balance(address) {
    return (await this.chain.getContract(address)).balance;
  }

  /** What came in is what is there and what was paid in fees, to the nanoton. */
  async assertNothingLost() {
    let there = 0n;
    for (const address of this.accounts.values()) there += await this.balance(address);
    assert.equal(there + this.fees, this.minted, "money came or went");
  }

  async worker(name) {
    const owner = person(name);
    const made = bodies.workerContract(owner, this.proxy.address, this.key.publicKey, this.terms);
    await this.send(owner, made.address, toNano("0.3"), EMPTY, made.init);
    return { owner, ...made };
  }

  async client(name) {
    const owner = person(name);
    const made = bodies.clientContract(owner, this.proxy.address, this.key.publicKey, this.terms);
    await this.send(owner, made.address, toNano("0.8"), EMPTY, made.init);
    return { owner, ...made };
  }

  /** A body with a total that the proxy signed for this contract. */
  signed(op, contract, total, { excessesTo = person("rest"), query = this.query(), key = this.key, part } = {}) {
    const inside = part ?? bodies.signedPart(op, query, total, contract);
    return bodies.signed(op, query, inside, excessesTo, key.secretKey);
  }

  payout(worker, total, { value = toNano("0.5"), from = worker.owner, ...rest } = {}) {
    return this.send(from, worker.address, value, this.signed(OP.workerPayout, worker.address, total, rest));
  }

  lastPayout(worker, total, { value = toNano("0.5"), ...rest } = {}) {
    return this.send(worker.owner, worker.address, value, this.signed(OP.workerLastPayout, worker.address, total, rest));
  }

  charge(client, total, { value = toNano("0.5"), ...rest } = {}) {
    return this.send(this.operator, client.address, value, this.signed(OP.clientCharge, client.address, total, rest));
  }

  grantRefund(client, total, { value = toNano("0.5"), ...rest } = {}) {
    return this.send(this.operator, client.address, value, this.signed(OP.clientGrantRefund, client.address, total, rest));
  }

  topUp(client, amount, { value = amount + toNano("0.7"), from = client.owner, excessesTo = person("rest") } = {}) {
    return this.send(from, client.address, value, bodies.topUp(this.query(), amount, excessesTo));
  }

  /** An operation of a client's owner that only says where the rest goes. */
  ownClient(client, op, { value = toNano("0.7"), from = client.owner, excessesTo = person("rest") } = {}) {
    return this.send(from, client.address, value, bodies.plain(op, this.query(), excessesTo));
  }

  toProxy(body, { value = toNano("0.2"), from = this.operator } = {}) {
    return this.send(from, this.proxy.address, value, body);
  }

  /** The proxy's contract begins to close, or is closed, by a signature. */
  close(op, { key = this.key, contract = this.proxy.address, value } = {}) {
    const query = this.query();
    const part = bodies.signedPart(op, query, null, contract);
    return this.toProxy(bodies.signed(op, query, part, person("rest"), key.secretKey), { value });
  }

  toRoot(body, { from = this.admin, value = toNano("0.1") } = {}) {
    return this.send(from, this.root.address, value, body);
  }

  async read(address, method, args = []) {
    return (await this.chain.runGetMethod(address, method, args)).stackReader;
  }

  async workerData(worker) {
    const s = await this.read(worker.address, "get_cocoon_worker_data");
    return {
      owner: s.readAddress(),
      proxy: s.readAddress(),
      key: s.readBigNumber(),
      state: s.readNumber(),
      tokens: s.readBigNumber(),
      rest: s.remaining,
    };
  }

  async clientData(client) {
    const s = await this.read(client.address, "get_cocoon_client_data");
    return {
      owner: s.readAddress(),
      proxy: s.readAddress(),
      key: s.readBigNumber(),
      state: s.readNumber(),
      balance: s.readBigNumber(),
      stake: s.readBigNumber(),
      tokensUsed: s.readBigNumber(),
      unlockAt: s.readNumber(),
      secretHash: s.readBigNumber(),
      rest: s.remaining,
    };
  }

  async proxyData() {
    const s = await this.read(this.proxy.address, "get_cocoon_proxy_data");
    return {
      owner: s.readAddress(),
      key: s.readBigNumber(),
      root: s.readAddress(),
      state: s.readNumber(),
      balance: s.readBigNumber(),
      stake: s.readBigNumber(),
      unlockAt: s.readNumber(),
      price: s.readBigNumber(),
      workerFee: s.readBigNumber(),
      minProxyStake: s.readBigNumber(),
      minClientStake: s.readBigNumber(),
      paramsVersion: s.readNumber(),
      rest: s.remaining,
    };
  }

  later(seconds) {
    this.chain.now += seconds;
  }
}

/** The transactions that one message brought about. */
export class Trace {
  constructor(transactions) {
    this.transactions = transactions;
  }

  /** Exit code of the contract's own transaction, the first one there; `null` where nothing was computed. */
  exit(address) {
    const found = this.at(address)[0];
    assert(found, "the contract was not reached");
    const compute = found.description.computePhase;
    return compute.type === "vm" ? compute.exitCode : null;
  }

  at(address) {
    const wanted = BigInt(`0x${address.hash.toString("hex")}`);
    return this.transactions.filter((tx) => tx.address === wanted);
  }

  gas(address) {
    const compute = this.at(address)[0]?.description.computePhase;
    return compute?.type === "vm" ? Number(compute.gasUsed) : 0;
  }

  /** Every transaction was carried out: computed with 0 or not at all for want of gas, and all actions done. */
  assertAllDone() {
    for (const tx of this.transactions) {
      const { computePhase: compute, actionPhase: action, aborted } = tx.description;
      if (compute.type === "skipped") continue;
      assert.equal(compute.exitCode, 0);
      assert.equal(aborted, false);
      assert.equal(action.success, true);
    }
  }

  /** Messages with this operation that arrived at an address: their values. */
  received(address, op) {
    return this.at(address)
      .filter((tx) => tx.inMessage.body.bits.length >= 32 && tx.inMessage.body.beginParse().preloadUint(32) === op)
      .map((tx) => tx.inMessage.info.value.coins);
  }

  paid(address) {
    return this.received(address, OP.payout).reduce((sum, value) => sum + value, 0n);
  }

  rest(address) {
    return this.received(address, OP.excesses).reduce((sum, value) => sum + value, 0n);
  }

  /** Everything that arrived at an address. */
  arrived(address) {
    return this.at(address).reduce((sum, tx) => sum + tx.inMessage.info.value.coins, 0n);
  }
}
