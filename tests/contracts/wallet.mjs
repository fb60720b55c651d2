// Words, keys, addresses and signed transfers as TON's own libraries make them, of random phrases that are the same every time.
// `node wallet.mjs` writes them to tests/fixtures/wallet/vectors.json, where the crate `wallet` is held to them.

import { createHash, pbkdf2Sync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { Address, beginCell, comment, external, internal, SendMode, storeMessage } from "@ton/core";
import {
  deriveEd25519Path,
  keyPairFromSeed,
  mnemonicToPrivateKey,
  mnemonicValidate,
  mnemonicWordList as list,
} from "@ton/crypto";
import { WalletContractV3R2, WalletContractV4, WalletContractV5R1 } from "@ton/ton";

export const FILE = new URL("../fixtures/wallet/vectors.json", import.meta.url);
const PHRASES = 6;
/** The path of hardware wallets; all of it is hardened. */
const PATH = [44, 607, 0];
const VALID_UNTIL = 1_800_000_000;

/** Endless bytes out of a name. */
function* bytes(name) {
  for (let block = 0; ; block++) {
    yield* createHash("sha512").update(`${name} ${block}`).digest();
  }
}

function take(stream, count) {
  return Buffer.from(Array.from({ length: count }, () => stream.next().value));
}

async function tonPhrase(stream) {
  for (;;) {
    const words = Array.from({ length: 24 }, () => list[take(stream, 2).readUInt16BE() % list.length]);
    if (await mnemonicValidate(words)) {
      return words;
    }
  }
}

/** BIP39: the entropy and the first bits of its SHA-256, eleven bits to a word. */
export function bip39Phrase(entropy) {
  const digits = (buffer) => [...buffer].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  const check = digits(createHash("sha256").update(entropy).digest()).slice(0, entropy.length / 4);
  return (digits(entropy) + check).match(/.{11}/g).map((bits) => list[Number.parseInt(bits, 2)]);
}

export async function bip39Key(words) {
  const seed = pbkdf2Sync(words.join(" "), "mnemonic", 2_048, 64, "sha512");
  return keyPairFromSeed(await deriveEd25519Path(seed, PATH));
}

function wallets(publicKey) {
  const v5 = (networkGlobalId) => WalletContractV5R1.create({ workchain: 0, publicKey, walletId: { networkGlobalId } });
  return {
    v5r1_main: v5(-239),
    v5r1_test: v5(-3),
    v4r2: WalletContractV4.create({ workchain: 0, publicKey }),
    v3r2: WalletContractV3R2.create({ workchain: 0, publicKey }),
  };
}

function hash(message) {
  return beginCell().store(storeMessage(message)).endCell().hash().toString("hex");
}

/** The hash by which a message is followed (TEP-467): without source, fee and initial state, its body in a cell of its own. */
function normalisedHash(message) {
  const bare = { ...message, init: null, info: { ...message.info, src: undefined, importFee: 0n } };
  return beginCell().store(storeMessage(bare, { forceRef: true })).endCell().hash().toString("hex");
}

function vector(scheme, words, keys, transfer) {
  const contracts = {};
  for (const [name, wallet] of Object.entries(wallets(keys.publicKey))) {
    const messages = [
      internal({ to: transfer.to, value: transfer.value, bounce: transfer.bounce, body: comment(transfer.comment) }),
    ];
    const sendMode = SendMode.PAY_GAS_SEPARATELY + SendMode.IGNORE_ERRORS;
    const { seqno } = transfer;
    const body = wallet.createTransfer({ seqno, secretKey: keys.secretKey, messages, sendMode, timeout: VALID_UNTIL });
    const message = external({ to: wallet.address, init: seqno === 0 ? wallet.init : undefined, body });
    contracts[name] = {
      address: wallet.address.toRawString(),
      message: hash(message),
      normalised: normalisedHash(message),
    };
  }
  return {
    scheme,
    words: words.join(" "),
    public_key: keys.publicKey.toString("hex"),
    transfer: {
      to: transfer.to.toRawString(),
      nanoton: transfer.value.toString(),
      bounce: transfer.bounce,
      comment: transfer.comment,
      seqno: transfer.seqno,
      valid_until: VALID_UNTIL,
    },
    wallets: contracts,
  };
}

export async function vectors() {
  const stream = bytes("chrysalis wallet vectors");
  const transfer = (seqno) => ({
    to: new Address(0, take(stream, 32)),
    value: BigInt(take(stream, 6).readUIntBE(0, 6)),
    bounce: take(stream, 1)[0] % 2 === 0,
    // Longer than a cell, now and then.
    comment: take(stream, 1 + (take(stream, 1)[0] % 120)).toString("hex"),
    seqno,
  });
  const all = [];
  for (let number = 0; number < PHRASES; number++) {
    const words = await tonPhrase(stream);
    all.push(vector("ton", words, await mnemonicToPrivateKey(words), transfer(number * 7)));
  }
  for (const length of [16, 20, 24, 28, 32]) {
    const words = bip39Phrase(take(stream, length));
    all.push(vector("bip39", words, await bip39Key(words), transfer(length - 16)));
  }
  return all;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  writeFileSync(FILE, `${JSON.stringify(await vectors(), null, 1)}\n`);
}
