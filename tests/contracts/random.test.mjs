// Random sequences of everything anybody may send, from a seed. After each step: what came in is there or was paid in fees, to the
// nanoton; nobody was paid more than was signed for him, and no client was charged more.
//
// CHRYSALIS_CONTRACT_SEED is the first seed (1), CHRYSALIS_CONTRACT_STEPS how many steps there are (200).

import assert from "node:assert/strict";
import { test } from "node:test";
import { toNano } from "@ton/core";
import * as bodies from "./bodies.mjs";
import { OP } from "./bodies.mjs";
import { keys, Net, person, TON } from "./chain.mjs";

const rest = person("rest");
/** After so many a network starts anew, for sooner or later its proxy is closed. */
const STEPS_OF_ONE_NETWORK = 60;
const steps = Number(process.env.CHRYSALIS_CONTRACT_STEPS ?? 200);
const firstSeed = Number(process.env.CHRYSALIS_CONTRACT_SEED ?? 1);

/** Numbers below a bound, the same for the same seed (mulberry32). */
function numbers(seed) {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  };
}

class Story {
  constructor(net, below) {
    Object.assign(this, { net, below, workers: [], clients: [], names: 0, paidOut: 0, refunded: 0, refused: 0, undone: 0 });
  }

  one(list) {
    return list[this.below(list.length)];
  }

  async hire() {
    const worker = await this.net.worker(`worker ${++this.names}`);
    this.workers.push({ ...worker, highest: 0n, paid: 0n, old: [] });
  }

  async invite() {
    const client = await this.net.client(`client ${++this.names}`);
    this.clients.push({ ...client, highest: 0n, paidIn: 0n, back: 0n, old: [] });
  }

  /** A signed body: of a higher total, of a lower one, one that was there before, by a wrong key, or for somebody else. */
  signed(op, account, few) {
    const kind = this.below(10);
    if (kind === 0 && account.old.length > 0) return this.one(account.old);
    let total = account.highest + BigInt(this.below(few ? 1_000 : 200_000_000));
    if (kind === 1) total = account.highest / 2n;
    if (kind === 2) return this.net.signed(op, account.address, total, { key: keys("somebody") });
    if (kind === 3) {
      const others = [...this.workers, ...this.clients].filter((other) => other !== account);
      return this.net.signed(op, this.one(others).address, total);
    }
    if (total > account.highest) account.highest = total;
    const body = this.net.signed(op, account.address, total, { excessesTo: rest });
    account.old.push(body);
    return body;
  }

  value() {
    return [toNano("0.05"), toNano("0.1"), toNano("0.11"), toNano("0.2"), toNano("0.5"), TON][this.below(6)];
  }

  async step() {
    const { net, below } = this;
    const worker = this.one(this.workers);
    const client = this.one(this.clients);
    const few = below(3) === 0;
    const from = below(5) === 0 ? person("stranger") : client.owner;
    switch (below(22)) {
      case 0: case 1: case 2: case 3: {
        const amount = BigInt(below(5_000_000_000));
        return net.topUp(client, amount, { value: amount + this.value() });
      }
      case 4: case 5: case 6: case 7:
        return net.send(worker.owner, worker.address, this.value(), this.signed(OP.workerPayout, worker, few));
      case 8:
        return net.send(worker.owner, worker.address, this.value(), this.signed(OP.workerLastPayout, worker, few));
      case 9: case 10: case 11:
        return net.send(net.operator, client.address, this.value(), this.signed(OP.clientCharge, client, few));
      case 12:
        return net.send(net.operator, client.address, this.value(), this.signed(OP.clientGrantRefund, client, few));
      case 13: case 14:
        return net.ownClient(client, OP.clientWithdraw, { from, value: this.value() });
      case 15:
        return net.ownClient(client, OP.clientRequestRefund, { from, value: this.value() });
      case 16:
        return net.send(from, client.address, this.value(), bodies.increaseClientStake(1, BigInt(below(3_000_000_000)), rest));
      case 17: {
        const amount = BigInt(below(2_000_000_000));
        return net.toProxy(bodies.increaseProxyStake(1, amount, rest), { value: amount + this.value() });
      }
      case 18:
        return net.toProxy(this.one([bodies.plain(OP.proxyPayTheOwner, 1, rest), bodies.text("w")]), { value: this.value() });
      case 19:
        net.later(below(400));
        return net.send(from, client.address, this.value(), bodies.register(1, below(1_000), rest));
      case 20:
        // Seldom, for it ends most of what can happen.
        if (below(4) !== 0) return net.send(worker.owner, worker.address, this.value(), bodies.plain(OP.workerRegister, 1, rest));
        return net.close(OP.proxyClose, { value: this.value() });
      default:
        if (below(4) === 0) net.later(600);
        return net.close(OP.proxyCloseComplete, { value: this.value() });
    }
  }

  async check(trace) {
    const { net } = this;
    await net.assertNothingLost();
    for (const tx of trace.transactions) {
      if (tx.description.computePhase.type === "vm" && tx.description.computePhase.exitCode !== 0) this.refused += 1;
      // What a proxy's contract refused its workers' and clients' contracts.
      if (tx.inMessage.info.bounced && tx.inMessage.info.src.equals(net.proxy.address)) {
        const inside = [...this.workers, ...this.clients].some((account) => account.address.equals(tx.inMessage.info.dest));
        if (inside) this.undone += 1;
      }
    }
    for (const worker of this.workers) {
      const paid = trace.paid(worker.owner);
      worker.paid += paid;
      if (paid > 0n) this.paidOut += 1;
      const { tokens } = await net.workerData(worker);
      assert.equal(worker.paid, tokens * net.terms.workerFeePerToken, "paid is not what the contract says");
      assert(tokens <= worker.highest, "paid for more than was signed");
    }
    for (const client of this.clients) {
      client.paidIn += this.toppedUp(trace, client);
      const back = trace.paid(client.owner);
      client.back += back;
      if (back > 0n) this.refunded += 1;
      const { balance, tokensUsed } = await net.clientData(client);
      const charged = client.paidIn - client.back - balance;
      assert(charged >= 0n, "a client got more than was paid in");
      assert(charged <= tokensUsed * net.terms.pricePerToken, "a client was charged for more than its tokens");
      assert(tokensUsed <= client.highest, "a client was charged for more than was signed");
    }
  }

  /** What the proxy's contract took in from this client's: read from its messages, not from what was meant. */
  toppedUp(trace, client) {
    let sum = 0n;
    for (const tx of trace.at(this.net.proxy.address)) {
      const body = tx.inMessage.body.beginParse();
      if (!tx.inMessage.info.src.equals(client.address) || tx.description.computePhase.exitCode !== 0) continue;
      const order = body.skip(96 + 267).loadRef() && body.loadMaybeRef();
      const inside = order?.beginParse();
      if (inside?.loadUint(32) === 0x5cfc6b87) sum += inside.loadCoins();
    }
    return sum;
  }
}

test(`what goes in comes out, whatever is sent (seed ${firstSeed}, ${steps} steps)`, async (t) => {
  const seen = { networks: 0, paidOut: 0, refunded: 0, refused: 0, undone: 0 };
  for (let done = 0, seed = firstSeed; done < steps; seed += 1) {
    const below = numbers(seed);
    const net = await Net.open({ pricePerToken: BigInt(20 + below(20)), workerFeePerToken: BigInt(below(21)) });
    const story = new Story(net, below);
    for (let at = 0; at < 2; at += 1) {
      await story.hire();
      await story.invite();
    }
    for (let at = 0; at < STEPS_OF_ONE_NETWORK && done < steps; at += 1, done += 1) {
      try {
        await story.check(await story.step());
        if ((await net.workerData(story.workers.at(-1))).state === 2) await story.hire();
        if ((await net.clientData(story.clients.at(-1))).state === 2) await story.invite();
      } catch (error) {
        error.message = `seed ${seed}, step ${at}: ${error.message}`;
        throw error;
      }
      if (story.workers.length > 4) story.workers.shift();
      if (story.clients.length > 4) story.clients.shift();
    }
    seen.networks += 1;
    for (const name of ["paidOut", "refunded", "refused", "undone"]) seen[name] += story[name];
  }
  t.diagnostic(JSON.stringify(seen));
  // A story in which nothing happens proves nothing.
  if (steps >= 200) assert(seen.paidOut > 5 && seen.refunded > 2 && seen.refused > 20 && seen.undone > 2, JSON.stringify(seen));
});
