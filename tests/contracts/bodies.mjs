// Data and message bodies of the contracts, built cell by cell: what src-tauri/docs/contracts.md says, as code to look at.

import { readFileSync } from "node:fs";
import { beginCell, Cell, contractAddress, Dictionary } from "@ton/core";
import { sign } from "@ton/crypto";

const folder = new URL("../../src-tauri/crates/network/contracts/code/", import.meta.url);
const code = (name) => Cell.fromBoc(readFileSync(new URL(`${name}.boc`, folder)))[0];

/** The committed code cells. */
export const CODE = { root: code("root"), proxy: code("proxy"), client: code("client"), worker: code("worker") };

export const OP = {
  excesses: 0x2565934c,
  payout: 0xc59a7cd3,
  doNotProcess: 0x9a1247c0,
  workerRequest: 0x4d725d2c,
  clientRequest: 0x65448ff4,
  workerPayout: 0xa040ad28,
  workerLastPayout: 0xf5f26a36,
  workerRegister: 0x26ed7f65,
  clientTopUp: 0xf172e6c2,
  clientCharge: 0xbb63ff93,
  clientGrantRefund: 0xefd711e1,
  clientRegister: 0xc45f9f3b,
  clientSecretHash: 0xa9357034,
  clientSecretHashAndTopUp: 0x8473b408,
  clientRequestRefund: 0xfafa6cc1,
  clientIncreaseStake: 0x6a1f6a60,
  clientWithdraw: 0xda068e78,
  proxyPayTheOwner: 0x7610e6eb,
  proxyIncreaseStake: 0x9713f187,
  proxyOwnerClose: 0xb51d5a01,
  proxyClose: 0x636a4391,
  proxyCloseComplete: 0xe511abc7,
  rootAddWorkerHash: 0xe34b1c60,
  rootRemoveWorkerHash: 0x8d94a79a,
  rootAddModelHash: 0xc146134d,
  rootRemoveModelHash: 0x92b11c18,
  rootAddProxyHash: 0x71860e80,
  rootRemoveProxyHash: 0x3c41d0b2,
  rootRegisterProxy: 0x927c7cb5,
  rootUnregisterProxy: 0x6d49eaf2,
  rootUpdateProxy: 0x9c7924ba,
  rootChangePrice: 0xc52ed8d4,
  rootChangeTerms: 0x022fa189,
  rootChangeAllTerms: 0x9f1e69dc,
  rootUpgradeContracts: 0xa2370f61,
  rootUpgrade: 0x11aefd51,
  rootEmptyLists: 0x563c1d96,
  rootUpgradeAll: 0x4f7c5789,
  rootChangeOwner: 0xc4a1ae54,
};

export const EXIT = {
  olderTokens: 1000,
  lowBalance: 1001,
  lowValue: 1003,
  malformed: 1004,
  malformedSigned: 1005,
  closed: 1006,
  badSignature: 1007,
  unknownLayout: 1008,
  ownersMoney: 1009,
  notTheOwner: 1010,
  tooEarly: 1011,
  unknownOperation: 1012,
  unknownText: 1013,
  foreignContract: 1014,
  foreignPayment: 1015,
  noSuchProxy: 2000,
};

/** The terms of a network as the root keeps them; amounts in nanoton. */
export const TERMS = {
  layout: 3,
  paramsVersion: 1,
  uniqueId: 13,
  isTest: true,
  pricePerToken: 20n,
  workerFeePerToken: 19n,
  promptMultiplier: 10000,
  cachedMultiplier: 2500,
  completionMultiplier: 10000,
  reasoningMultiplier: 10000,
  proxyDelay: 600,
  clientDelay: 300,
  minProxyStake: 1_000_000_000n,
  minClientStake: 1_000_000_000n,
  codes: { proxy: CODE.proxy, worker: CODE.worker, client: CODE.client },
};

/** Terms as a cell, with the codes that are named. */
export function terms(t, ...withCodes) {
  const b = beginCell().storeUint(t.layout, 8).storeUint(t.paramsVersion, 32).storeUint(t.uniqueId, 32).storeBit(t.isTest);
  b.storeCoins(t.pricePerToken).storeCoins(t.workerFeePerToken);
  if (t.layout >= 3) b.storeUint(t.promptMultiplier, 32);
  if (t.layout >= 2) b.storeUint(t.cachedMultiplier, 32);
  if (t.layout >= 3) b.storeUint(t.completionMultiplier, 32);
  if (t.layout >= 2) b.storeUint(t.reasoningMultiplier, 32);
  b.storeUint(t.proxyDelay, 32).storeUint(t.clientDelay, 32);
  if (t.layout >= 1) b.storeCoins(t.minProxyStake).storeCoins(t.minClientStake);
  for (const name of ["proxy", "worker", "client"]) b.storeMaybeRef(withCodes.includes(name) ? t.codes[name] : null);
  return b.endCell();
}

const deployed = (code, data) => ({ address: contractAddress(0, { code, data }), init: { code, data } });

/** Proxies of a root: numbers to texts. */
export function proxyEntry(text) {
  return beginCell().storeUint(0, 1).storeUint(text.length, 7).storeBuffer(Buffer.from(text)).endCell();
}

export function rootContract(owner, t, proxies = {}) {
  const entries = Dictionary.empty(Dictionary.Keys.Uint(32), {
    serialize: (text, b) => b.storeSlice(proxyEntry(text).beginParse()),
    parse: (s) => s,
  });
  for (const [seqno, text] of Object.entries(proxies)) entries.set(Number(seqno), text);
  const last = Math.max(0, ...Object.keys(proxies).map(Number));
  const lists = beginCell().storeBit(0).storeDict(entries).storeUint(last, 32).storeBit(0).storeBit(0).endCell();
  const data = beginCell().storeAddress(owner).storeUint(1, 32).storeRef(lists);
  return deployed(CODE.root, data.storeRef(terms(t, "proxy", "worker", "client")).endCell());
}

export function proxyContract(owner, proxyKey, root, t) {
  const data = beginCell().storeAddress(owner).storeBuffer(proxyKey).storeAddress(root);
  data.storeUint(0, 2).storeCoins(0).storeCoins(0).storeUint(0, 32);
  return deployed(t.codes.proxy, data.storeRef(terms(t, "worker", "client")).endCell());
}

export function workerContract(owner, proxy, proxyKey, t) {
  const data = beginCell().storeAddress(owner).storeAddress(proxy).storeBuffer(proxyKey).storeUint(0, 2).storeUint(0, 64);
  return deployed(t.codes.worker, data.storeRef(terms(t)).endCell());
}

export function clientContract(owner, proxy, proxyKey, t) {
  const parties = beginCell().storeAddress(owner).storeAddress(proxy).storeBuffer(proxyKey).endCell();
  const stake = t.layout >= 1 ? t.minClientStake : 1_000_000_000n;
  const data = beginCell().storeUint(0, 2).storeCoins(0).storeCoins(stake).storeUint(0, 64).storeUint(0, 32).storeUint(0, 256);
  return deployed(t.codes.client, data.storeRef(parties).storeRef(terms(t)).endCell());
}

/** A body that begins with operation and query. */
export const body = (op, queryId) => beginCell().storeUint(op, 32).storeUint(queryId, 64);

/** What a proxy signs: a running total for one contract, or (no total) the closing of its own. */
export function signedPart(op, queryId, total, contract) {
  const part = body(op, queryId);
  if (total !== null) part.storeUint(total, 64);
  return part.storeAddress(contract).endCell();
}

/** A signed part and what stands around it. */
export function signed(op, queryId, part, excessesTo, secretKey) {
  return body(op, queryId).storeAddress(excessesTo).storeBuffer(sign(part.hash(), secretKey)).storeRef(part).endCell();
}

/** Operations that only name where the rest of their value goes. */
export const plain = (op, queryId, excessesTo) => body(op, queryId).storeAddress(excessesTo).endCell();

export const topUp = (queryId, amount, excessesTo) =>
  body(OP.clientTopUp, queryId).storeCoins(amount).storeAddress(excessesTo).endCell();

export const topUpWithSecretHash = (queryId, amount, hash, excessesTo) =>
  body(OP.clientSecretHashAndTopUp, queryId).storeCoins(amount).storeUint(hash, 256).storeAddress(excessesTo).endCell();

export const register = (queryId, nonce, excessesTo) =>
  body(OP.clientRegister, queryId).storeUint(nonce, 64).storeAddress(excessesTo).endCell();

export const changeSecretHash = (queryId, hash, excessesTo) =>
  body(OP.clientSecretHash, queryId).storeUint(hash, 256).storeAddress(excessesTo).endCell();

export const increaseClientStake = (queryId, stake, excessesTo) =>
  body(OP.clientIncreaseStake, queryId).storeCoins(stake).storeAddress(excessesTo).endCell();

export const increaseProxyStake = (queryId, amount, excessesTo) =>
  body(OP.proxyIncreaseStake, queryId).storeCoins(amount).storeAddress(excessesTo).endCell();

export const text = (letter) => beginCell().storeUint(0, 32).storeBuffer(Buffer.from(letter)).endCell();

export const rootHash = (op, queryId, hash) => body(op, queryId).storeUint(hash, 256).endCell();

export const rootRegisterProxy = (queryId, words) =>
  body(OP.rootRegisterProxy, queryId).storeSlice(proxyEntry(words).beginParse()).endCell();

export const rootUnregisterProxy = (queryId, seqno) => body(OP.rootUnregisterProxy, queryId).storeUint(seqno, 32).endCell();

export const rootUpdateProxy = (queryId, seqno, words) =>
  body(OP.rootUpdateProxy, queryId).storeUint(seqno, 32).storeSlice(proxyEntry(words).beginParse()).endCell();

export const rootChangePrice = (queryId, price, fee) =>
  body(OP.rootChangePrice, queryId).storeCoins(price).storeCoins(fee).endCell();

export const rootChangeTerms = (queryId, t) =>
  body(OP.rootChangeTerms, queryId)
    .storeCoins(t.pricePerToken)
    .storeCoins(t.workerFeePerToken)
    .storeUint(t.proxyDelay, 32)
    .storeUint(t.clientDelay, 32)
    .storeCoins(t.minProxyStake)
    .storeCoins(t.minClientStake)
    .endCell();

export const rootChangeAllTerms = (queryId, t) =>
  body(OP.rootChangeAllTerms, queryId)
    .storeCoins(t.pricePerToken)
    .storeCoins(t.workerFeePerToken)
    .storeUint(t.promptMultiplier, 32)
    .storeUint(t.cachedMultiplier, 32)
    .storeUint(t.completionMultiplier, 32)
    .storeUint(t.reasoningMultiplier, 32)
    .storeUint(t.proxyDelay, 32)
    .storeUint(t.clientDelay, 32)
    .storeCoins(t.minProxyStake)
    .storeCoins(t.minClientStake)
    .endCell();

export const rootUpgradeContracts = (queryId, proxy, worker, client) =>
  body(OP.rootUpgradeContracts, queryId).storeRef(proxy).storeRef(worker).storeRef(client).endCell();

export const rootUpgrade = (queryId, code) => body(OP.rootUpgrade, queryId).storeRef(code).endCell();

export const rootUpgradeAll = (queryId, data, code) =>
  body(OP.rootUpgradeAll, queryId).storeRef(data).storeRef(code).endCell();

export const rootChangeOwner = (queryId, owner) => body(OP.rootChangeOwner, queryId).storeAddress(owner).endCell();
