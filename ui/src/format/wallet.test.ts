import { describe, expect, it } from 'vitest';
import { FRIEND, fakeWallet } from '../ipc/fake-money-scenes';
import type { Draft, Finding, Flight, FlightOutcome, KeychainTrouble, MoneyReason, Refusal, WalletCandidate } from '../ipc/view';
import {
  canSend, candidateWords, exact, findingWords, flightWords, groupsOf, isGood, keychainTrouble, keyPlace, landedWords, locksAfter, outcomeOf, outcomeWords, plain,
  reasonWords, refusalWords, shortAddress, unitOf, unitWhere,
} from './wallet';

const NOW = Date.UTC(2026, 4, 21, 22, 14, 5);
const sentence = /^[A-Z].*\.$/s;

describe('the unit', () => {
  it('says what the money is worth', () => {
    expect((['practice', 'test', 'main'] as const).map(unitOf)).toEqual(['practice TON', 'test TON', 'TON']);
    expect([unitWhere(true, true), unitWhere(true, false), unitWhere(false, false)]).toEqual(['practice TON', 'test TON', 'TON']);
    expect(exact('5000000001', 'TON')).toBe('5.000000001 TON');
    expect(plain('5000000001', 'TON')).toBe('5.000 TON');
    expect(exact('no amount', 'TON')).toBe('no reading TON');
  });
});

describe('what a keychain has against it', () => {
  const troubles: { [T in KeychainTrouble['trouble']]: Extract<KeychainTrouble, { trouble: T }> } = {
    absent: { trouble: 'absent', missing: 'the Secret Service' },
    locked: { trouble: 'locked' },
    no_answer: { trouble: 'no_answer', seconds: 30 },
    form: { trouble: 'form' },
    failed: { trouble: 'failed', why: 'broken pipe.' },
  };

  it('is named, each in a sentence', () => {
    const said = Object.values(troubles).map((trouble) => keychainTrouble(trouble, 'GNOME Keyring'));
    expect(said).toEqual([
      'No keychain answers: the Secret Service.',
      'GNOME Keyring is locked, or its question was dismissed.',
      'GNOME Keyring did not answer within 30.0 s. It may be asking you something.',
      'What GNOME Keyring has in this place is no key of Chrysalis.',
      'GNOME Keyring failed: broken pipe.',
    ]);
  });

  it('and where the key is kept too', () => {
    const said = (['keychain', 'keychain_and_password', 'password', 'practice_file'] as const).map((place) => keyPlace(place, 'GNOME Keyring'));
    expect(said).toEqual(['GNOME Keyring', 'GNOME Keyring and a password', 'A file with a password', 'A file in the practice folder']);
  });
});

describe('a refusal', () => {
  // Typed by every refusal there is, so that a new one can't be left out.
  const all: { [R in Refusal['refusal']]: Extract<Refusal, { refusal: R }> } = {
    no_wallet: { refusal: 'no_wallet' },
    wallet_exists: { refusal: 'wallet_exists' },
    watch_only: { refusal: 'watch_only' },
    locked: { refusal: 'locked' },
    no_password: { refusal: 'no_password' },
    wrong_password: { refusal: 'wrong_password' },
    weak_password: { refusal: 'weak_password', least: 8 },
    keychain: { refusal: 'keychain', trouble: { trouble: 'locked' } },
    not_kept: { refusal: 'not_kept' },
    key_gone: { refusal: 'key_gone' },
    wrong_words: { refusal: 'wrong_words' },
    too_late: { refusal: 'too_late' },
    destination: { refusal: 'destination', findings: [{ finding: 'bad_checksum' }, { finding: 'not_seen' }] },
    no_amount: { refusal: 'no_amount' },
    not_enough: { refusal: 'not_enough', have: '1000000000', need: '1006214000' },
    reserve: { refusal: 'reserve', most: '500000000' },
    daily_limit: { refusal: 'daily_limit', left: '0' },
    long_memo: { refusal: 'long_memo', most: 120 },
    in_flight: { refusal: 'in_flight' },
    would_fail: { refusal: 'would_fail', why: 'exit code 33' },
    fee_too_high: { refusal: 'fee_too_high', fee: '11000000', income: '9000000' },
    nothing: { refusal: 'nothing' },
    chain_fails: { refusal: 'chain_fails', why: 'the time was up' },
    failed: { refusal: 'failed', why: 'disk full' },
  };

  it('has a sentence of its own, with its amounts and reasons', () => {
    const said = Object.fromEntries(Object.entries(all).map(([name, refusal]) => [name, refusalWords(refusal, 'TON', 'GNOME Keyring', NOW)]));
    for (const [name, words] of Object.entries(said)) expect(words, name).toMatch(sentence);
    expect(new Set(Object.values(said)).size).toBe(Object.keys(all).length);
    expect(said.not_enough).toBe('There is 1 TON; it takes 1.006214 TON.');
    expect(said.daily_limit).toContain('0 TON');
    expect(said.destination).toContain('A character is wrong');
    expect(said.destination).toContain('could not be asked');
    expect(said.would_fail).toContain('exit code 33');
    expect(said.keychain).toContain('GNOME Keyring is locked');
    expect(refusalWords({ refusal: 'destination', findings: [] }, 'TON', '', NOW)).toMatch(sentence);
  });

  it('is something else than a call that did not arrive', () => {
    expect(outcomeWords(null, 'TON', '', NOW)).toBeNull();
    expect(outcomeWords({ error: { code: 'app_gone', message: 'x' } }, 'TON', '', NOW)).toBe('The app behind this window does not answer.');
    expect(outcomeWords({ refusal: { refusal: 'nothing' } }, 'TON', '', NOW)).toBe('There is nothing to fetch.');
  });
});

describe('what was found about an address', () => {
  const all: { [F in Finding['finding']]: [Extract<Finding, { finding: F }>, 'stop' | 'ask' | 'good'] } = {
    no_address: [{ finding: 'no_address' }, 'stop'],
    bad_checksum: [{ finding: 'bad_checksum' }, 'stop'],
    no_checksum: [{ finding: 'no_checksum' }, 'stop'],
    other_network: [{ finding: 'other_network', test: true }, 'stop'],
    own: [{ finding: 'own' }, 'stop'],
    not_initialised: [{ finding: 'not_initialised' }, 'ask'],
    looks_like: [{ finding: 'looks_like', known: FRIEND }, 'ask'],
    exchange: [{ finding: 'exchange', name: 'Sample Exchange' }, 'ask'],
    masterchain: [{ finding: 'masterchain' }, 'ask'],
    not_seen: [{ finding: 'not_seen' }, 'ask'],
    used_before: [{ finding: 'used_before', at: NOW - 86_400_000 }, 'good'],
  };

  it('stops, asks or comforts, each in words of its own', () => {
    for (const [finding, grave] of Object.values(all)) {
      const said = findingWords(finding, NOW);
      expect(said.grave, finding.finding).toBe(grave);
      expect(said.text).toMatch(sentence);
    }
    expect(findingWords({ finding: 'other_network', test: false }, NOW).text).toContain('one of TON itself');
    expect(findingWords({ finding: 'used_before', at: NOW - 86_400_000 }, NOW).text).toBe('You sent there before, last yesterday 22:14.');
  });

  it('shows enough of an address to know it again, and all of it to check it', () => {
    expect(shortAddress(FRIEND)).toBe('UQDyib…M52FL0');
    expect(shortAddress('short')).toBe('short');
    expect(groupsOf(FRIEND)).toHaveLength(12);
    expect(groupsOf(FRIEND).join('')).toBe(FRIEND);
    expect(groupsOf('abcde')).toEqual(['abcd', 'e']);
  });
});

describe('what moves', () => {
  const outcomes: { [O in FlightOutcome['outcome']]: Extract<FlightOutcome, { outcome: O }> } = {
    done: { outcome: 'done' },
    failed: { outcome: 'failed', why: 'it bounced' },
    expired: { outcome: 'expired' },
    overtaken: { outcome: 'overtaken' },
    not_begun: { outcome: 'not_begun', why: 'the wallet is locked' },
  };

  it('ends in plain words that say whether money moved', () => {
    const said = Object.values(outcomes).map(outcomeOf);
    for (const words of said) expect(words).toMatch(sentence);
    expect(said.filter((words) => words.includes('No money moved'))).toHaveLength(3);
    expect(landedWords({ id: '1', errand: 'payout', outcome: outcomes.expired })).toMatch(/^The last payout: /);
    expect(landedWords({ id: '1', errand: 'take_back', outcome: outcomes.done })).toMatch(/^Taking the rest back: /);
  });

  it('is named while it is under way, with how far it is', () => {
    const flight: Flight = { id: '1', errand: 'send', to: FRIEND, amount: { nanoton: '5000000000', kind: 'estimate' }, stage: 'sent', since: NOW, until: NOW + 60_000 };
    expect(flightWords(flight, 'TON', NOW)).toEqual({
      title: 'Sending 5 TON to UQDyib…M52FL0.', more: "Signed and sent. Waiting for the chain; after 22:15:05 it can't arrive any more.",
    });
    expect(flightWords({ ...flight, stage: 'planned' }, 'TON', NOW).more).toContain('nothing is signed yet');
    expect(flightWords({ ...flight, until: null, errand: 'payout' }, 'TON', NOW)).toEqual({ title: 'Fetching about 5 TON.', more: 'Signed and sent. Waiting for the chain.' });
  });

  it('has a plain reason', () => {
    const reasons: Record<MoneyReason, string> = {
      payout: 'Payout', sent: 'Sent', received: 'Received', fee: 'Sent along', rest: 'Left over', bounced: 'Came back', other: 'Other',
    };
    for (const [reason, word] of Object.entries(reasons)) expect(reasonWords(reason as MoneyReason).word).toBe(word);
  });
});

describe('rules and states', () => {
  it('a wallet locks itself after a time, or never', () => {
    expect([30, 60, 300, null, undefined].map(locksAfter)).toEqual(['after 30 seconds', 'after 1 minute', 'after 5 minutes', 'never', 'never']);
  });

  it('a draft is good until its time', () => {
    const draft = { until: NOW } as Draft;
    expect([isGood(draft, NOW - 1), isGood(draft, NOW)]).toEqual([true, false]);
  });

  it('only a key that is here can send', () => {
    const scenes = ['open', 'wallet_locked', 'wallet_watch', 'wallet_none', 'wallet_damaged', 'wallet_key_gone', 'unknown'] as const;
    expect(scenes.map((scene) => canSend(fakeWallet(scene, NOW)))).toEqual([true, true, false, false, false, false, false]);
  });

  it('candidates are told apart', () => {
    const candidate = { number: 0, version: 'v4_r2', scheme: 'bip39' } as WalletCandidate;
    expect(candidateWords(candidate)).toBe('BIP39 wallet, V4 R2');
    expect(candidateWords({ ...candidate, scheme: 'ton', version: 'v5_r1' })).toBe('TON wallet, W5');
  });
});
