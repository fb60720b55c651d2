// The wallet in words: refusals, what was found about an address, why money moved.
import type {
  ApiError, ChainKind, Draft, Finding, Flight, FlightOutcome, KeychainTrouble, KeyPlace, Landed, MoneyReason, Refusal, Wallet, WalletCandidate,
} from '../ipc/view';
import { m } from '../paraglide/messages.js';
import { DECIMALS, rough, tonExact, tonText } from './money';
import { count } from './number';
import { plainError } from './status';
import { duration, moment } from './time';

/** The unit says what the money is worth: TON, or coins of practice or of the test network, worth nothing. */
export function unitOf(chain: ChainKind): string {
  return { practice: m.ton_practice(), test: m.ton_test(), main: m.ton() }[chain];
}

/** The same for whoever does not know the chain, only whether it pays. */
export function unitWhere(paysNothing: boolean, practice: boolean): string {
  return unitOf(!paysNothing ? 'main' : practice ? 'practice' : 'test');
}

/** An amount with every digit and its unit; a dash for what is no amount. */
export const exact = (nanoton: string, unit: string) => `${tonExact(nanoton) ?? m.no_reading()} ${unit}`;

/** An amount as it stands in a sentence, with the decimals of a balance. */
export const plain = (nanoton: string, unit: string) => `${tonText(nanoton, DECIMALS.day) ?? m.no_reading()} ${unit}`;

/** "about 0.0063 TON". */
export const aboutWords = (nanoton: string, unit: string) => m.about({ amount: `${rough(nanoton) ?? m.no_reading()} ${unit}` });

const ended = (why: string) => why.replace(/[.\s]+$/, '');

export function keychainTrouble(trouble: KeychainTrouble, name: string): string {
  switch (trouble.trouble) {
    case 'absent':
      return m.keychain_absent({ missing: ended(trouble.missing) });
    case 'locked':
      return m.keychain_locked({ name });
    case 'no_answer':
      return m.keychain_no_answer({ name, time: duration(trouble.seconds * 1000) ?? '' });
    case 'form':
      return m.keychain_form({ name });
    case 'failed':
      return m.keychain_failed({ name, why: ended(trouble.why) });
  }
}

export function keyPlace(place: KeyPlace, name: string): string {
  switch (place) {
    case 'keychain':
      return name;
    case 'keychain_and_password':
      return m.place_both({ name });
    case 'password':
      return m.place_password();
    case 'practice_file':
      return m.place_practice();
  }
}

/** Why it was not done, as one sentence or two. */
export function refusalWords(refusal: Refusal, unit: string, keychain: string, now: number): string {
  const amount = (nanoton: string) => exact(nanoton, unit);
  switch (refusal.refusal) {
    case 'no_wallet':
      return m.no_no_wallet();
    case 'wallet_exists':
      return m.no_wallet_exists();
    case 'watch_only':
      return m.no_watch_only();
    case 'locked':
      return m.no_locked();
    case 'no_password':
      return m.no_no_password();
    case 'wrong_password':
      return m.no_wrong_password();
    case 'weak_password':
      return m.no_weak_password({ least: refusal.least });
    case 'keychain':
      return keychainTrouble(refusal.trouble, keychain);
    case 'not_kept':
      return m.no_not_kept();
    case 'key_gone':
      return m.no_key_gone();
    case 'wrong_words':
      return m.no_wrong_words();
    case 'too_late':
      return m.no_too_late();
    case 'destination':
      return refusal.findings.map((finding) => findingWords(finding, now).text).join(' ') || m.no_destination();
    case 'no_amount':
      return m.no_no_amount();
    case 'not_enough':
      return m.no_not_enough({ have: amount(refusal.have), need: amount(refusal.need) });
    case 'reserve':
      return m.no_reserve({ most: amount(refusal.most) });
    case 'daily_limit':
      return m.no_daily_limit({ left: amount(refusal.left) });
    case 'long_memo':
      return m.no_long_memo({ most: refusal.most });
    case 'in_flight':
      return m.no_in_flight();
    case 'would_fail':
      return m.no_would_fail({ why: ended(refusal.why) });
    case 'fee_too_high':
      return m.no_fee_too_high({ fee: amount(refusal.fee), income: amount(refusal.income) });
    case 'nothing':
      return m.no_nothing();
    case 'chain_fails':
      return m.no_chain_fails({ why: ended(refusal.why) });
    case 'failed':
      return m.no_failed({ why: ended(refusal.why) });
  }
}

/** The same for a call, which may also not have arrived. `null`: nothing is against it. */
export function outcomeWords(outcome: { refusal: Refusal } | { error: ApiError } | null, unit: string, keychain: string, now: number): string | null {
  if (outcome === null) return null;
  return 'error' in outcome ? plainError(outcome.error) : refusalWords(outcome.refusal, unit, keychain, now);
}

export interface FindingWords {
  text: string;
  /** `stop`: nothing goes there. `ask`: the owner must look. `good`: as it should be. */
  grave: 'stop' | 'ask' | 'good';
}

export function findingWords(finding: Finding, now: number): FindingWords {
  const stop = (text: string) => ({ text, grave: 'stop' as const });
  const ask = (text: string) => ({ text, grave: 'ask' as const });
  switch (finding.finding) {
    case 'no_address':
      return stop(m.found_no_address());
    case 'bad_checksum':
      return stop(m.found_bad_checksum());
    case 'no_checksum':
      return stop(m.found_no_checksum());
    case 'other_network':
      return stop(finding.test ? m.found_test_address() : m.found_main_address());
    case 'own':
      return stop(m.found_own());
    case 'not_initialised':
      return ask(m.found_not_initialised());
    case 'looks_like':
      return ask(m.found_looks_like({ known: shortAddress(finding.known) }));
    case 'exchange':
      return ask(m.found_exchange({ name: finding.name }));
    case 'masterchain':
      return ask(m.found_masterchain());
    case 'not_seen':
      return ask(m.found_not_seen());
    case 'used_before':
      return { text: m.found_used_before({ time: moment(finding.at, now) ?? m.time_unknown() }), grave: 'good' };
  }
}

/** UQCC…VcWm: enough to know it again, too little to check it. */
export function shortAddress(address: string): string {
  return address.length > 12 ? `${address.slice(0, 6)}…${address.slice(-6)}` : address;
}

/** Groups of four, to be compared by eye. */
export const groupsOf = (address: string): string[] => address.match(/.{1,4}/gs) ?? [];

export function reasonWords(reason: MoneyReason): { word: string; more: string | null } {
  switch (reason) {
    case 'payout':
      return { word: m.why_payout(), more: m.why_payout_more() };
    case 'sent':
      return { word: m.why_sent(), more: null };
    case 'received':
      return { word: m.why_received(), more: null };
    case 'fee':
      return { word: m.why_fee(), more: m.why_fee_more() };
    case 'rest':
      return { word: m.why_rest(), more: m.why_rest_more() };
    case 'bounced':
      return { word: m.why_bounced(), more: m.why_bounced_more() };
    case 'other':
      return { word: m.why_other(), more: null };
  }
}

/** How the last transfer ended, as a notice says it. */
export function landedWords(landed: Landed): string {
  const what = { payout: m.landed_payout, send: m.landed_send, take_back: m.landed_take_back }[landed.errand]();
  return `${what} ${outcomeOf(landed.outcome)}`;
}

export function outcomeOf(outcome: FlightOutcome): string {
  switch (outcome.outcome) {
    case 'done':
      return m.flight_done();
    case 'failed':
      return m.flight_failed({ why: ended(outcome.why) });
    case 'expired':
      return m.flight_expired();
    case 'overtaken':
      return m.flight_overtaken();
    case 'not_begun':
      return m.flight_not_begun({ why: ended(outcome.why) });
  }
}

/** What is under way, and how far it is. */
export function flightWords(flight: Flight, unit: string, now: number): { title: string; more: string } {
  const amount = exact(flight.amount.nanoton, unit);
  const to = shortAddress(flight.to);
  const title = { payout: m.flight_payout({ amount }), send: m.flight_send({ amount, to }), take_back: m.flight_take_back({ amount, to }) }[flight.errand];
  const until = moment(flight.until, now, true);
  const more = flight.stage === 'planned' ? m.flight_planned() : until ? m.flight_sent_until({ time: until }) : m.flight_sent();
  return { title, more };
}

/** When a wallet locks itself. */
export function locksAfter(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return m.locks_never();
  return seconds < 60 ? m.locks_seconds({ count: seconds, text: count(seconds) ?? '' }) : m.locks_minutes({ count: seconds / 60, text: count(seconds / 60) ?? '' });
}

export function candidateWords(candidate: WalletCandidate): string {
  const version = { v5_r1: 'W5', v4_r2: 'V4 R2', v3_r2: 'V3 R2' }[candidate.version] ?? candidate.version;
  return candidate.scheme === 'ton' ? m.candidate_ton({ version }) : m.candidate_bip39({ version });
}

/** Whether a draft can still be confirmed. */
export const isGood = (draft: Draft, now: number) => (draft.until ?? 0) > now;

/** Whether there is a key here that can send. */
/** Nothing is sent from a wallet that is there for fees: its rest goes back as a whole. */
export const canSend = (wallet: Wallet) => (wallet.state.state === 'locked' || wallet.state.state === 'unlocked') && (wallet.payer ?? null) === null;
