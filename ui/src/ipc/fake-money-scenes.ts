// What the fake knows about money. Samples that agree with each other, made up; the addresses are those of nobody.
import type { Scene } from './fake-scenes';
import type {
  AddressForms, Bar, Earnings, EarnedChart, Fact, FactCheck, Finding, KeychainTrouble, Payout, Range, Verification, Wallet, WalletCandidate, WalletEntry, WalletState,
} from './view';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TON = 1_000_000_000n;

const forms = (plain: string, bounceable: string, digit: string): AddressForms => ({ plain, bounceable, raw: `0:${digit.repeat(64)}` });
export const OWN = forms('UQCCtwX0yRzIMs7F3GbqvnEWlKkkdt5r2wHx_Ls9yEUVcWmQ', 'EQCCtwX0yRzIMs7F3GbqvnEWlKkkdt5r2wHx_Ls9yEUVcTRV', '8');
export const PRACTICE = forms('0QBtp4qgFXvN8hLsVd1EJkrC0oNfaiTzm2G7Qw9yuP5bXYsJ', 'kQBtp4qgFXvN8hLsVd1EJkrC0oNfaiTzm2G7Qw9yuP5bXdaM', '6');
export const FRIEND = 'UQDyibNJwwW_94zrdABK4bxTrWseZiaszywJH3Iu2OM52FL0';
export const LOOKALIKE = 'UQDyibZ8r1tLqUeQ0cXy6PnDg7mVwKsAo3JHfTRb9OM52FL0';
const PROXY = 'EQBs7Tn0bKxqd1cKQvY4ZrLhWm2oNfaUuE5gXiPzR8yJtw3k';
const HARDWARE = forms('UQA7pLr2KsVxYd0nQcTbGfJwMe9hZu8oXi4RyEv3PaSkWq1B', 'EQA7pLr2KsVxYd0nQcTbGfJwMe9hZu8oXi4RyEv3PaSkWvDE', '7');
const FEES = forms('UQBoN5dVtXq3hMfLw8KzRyPc1JuGiEs7aTxQk0vYbDn4Wm6C', 'EQBoN5dVtXq3hMfLw8KzRyPc1JuGiEs7aTxQk0vYbDn4WkvH', 'b');

export const WORDS =
  'ribbon candle orbit maple velvet anchor pepper tunnel garden silver crater window ladder meadow signal copper harvest puzzle winter canyon rocket island thunder saddle'.split(' ');
export const PLACES = [4, 11, 20];

const paid = (nanoton: bigint | string) => ({ nanoton: String(nanoton), kind: 'paid' as const });
const about = (nanoton: bigint | string) => ({ nanoton: String(nanoton), kind: 'estimate' as const });

const ABSENT: KeychainTrouble = { trouble: 'absent', missing: 'the Secret Service of GNOME Keyring or KWallet' };

const practice = (scene: Scene) => !(scene === 'open' || scene.startsWith('wallet_') || scene.startsWith('trust_'));

function standing(scene: Scene, now: number): WalletState {
  switch (scene) {
    case 'unknown':
      return { state: 'unknown' };
    case 'wallet_none':
    case 'wallet_no_keychain':
      return { state: 'none' };
    case 'wallet_watch':
      return { state: 'watch_only' };
    case 'wallet_locked':
      return { state: 'locked', needs_password: true };
    case 'wallet_key_gone':
      return { state: 'key_gone' };
    case 'wallet_damaged':
      return { state: 'damaged', why: 'this is no wallet file' };
    default:
      return { state: 'unlocked', locks_at: now + 4 * MINUTE };
  }
}

export function fakeWallet(scene: Scene, now: number): Wallet {
  const state = standing(scene, now);
  const none = state.state === 'none' || state.state === 'unknown';
  const watch = state.state === 'watch_only';
  const home = practice(scene);
  const address = none ? null : watch ? HARDWARE : home ? PRACTICE : OWN;
  const long = scene === 'wallet_long';
  const flying = scene === 'wallet_flight';
  return {
    at: now,
    chain: home ? 'practice' : 'main',
    pays_nothing: home,
    explorer: home ? null : 'tonviewer',
    keychain: scene === 'unknown' ? null : { name: home ? 'a file' : scene === 'wallet_no_keychain' ? 'GNOME Keyring' : 'Windows Credential Manager', trouble: scene === 'wallet_no_keychain' ? ABSENT : null },
    state,
    address,
    balance: none || scene === 'wallet_damaged' || scene === 'wallet_key_gone' ? null : paid(long ? 123_456_789_012_345_678n : scene === 'empty' ? 0n : 8_033_412_705n),
    balance_at: none ? null : now - 12_000,
    chain_fails: scene === 'wallet_key_gone' ? 'toncenter.com: the time was up' : null,
    reserve_nanoton: '500000000',
    key_place: none || watch ? null : home ? 'practice_file' : scene === 'wallet_locked' ? 'password' : 'keychain',
    written_down: none || watch ? null : scene === 'open' || scene === 'wallet_locked',
    remind: long,
    locks_after_s: none || watch ? null : 300,
    daily_limit_nanoton: none || watch ? null : '20000000000',
    limit_left_nanoton: none || watch ? null : '10000000000',
    payout: address && { address, ours: !watch, change: long ? { to: HARDWARE.plain, from: now + 22 * HOUR } : null },
    payer: watch ? { address: FEES, balance: paid(870_000_000n), spent: paid(52_118_000n) } : null,
    in_flight: flying ? { id: '12', errand: 'send', to: FRIEND, amount: about(5n * TON), stage: 'sent', since: now - 8_000, until: now + 52_000 } : null,
    landed: scene === 'wallet_locked' ? { id: '11', errand: 'send', outcome: { outcome: 'expired' } } : null,
  };
}

export function fakeMoves(scene: Scene, now: number): WalletEntry[] {
  const state = standing(scene, now).state;
  if (state === 'none' || state === 'unknown' || scene === 'empty' || scene === 'wallet_key_gone') return [];
  const hash = (i: number) => (0x4ee5cbd30b7e1f09n * BigInt(i + 1)).toString(16).padStart(16, '0').slice(-16).repeat(4);
  const entry = (i: number, reason: WalletEntry['reason'], nanoton: bigint, over: Partial<WalletEntry> = {}): WalletEntry => ({
    key: String(1000 - i), at: now - HOUR - i * 37 * HOUR, reason, amount: paid(nanoton), fee: null, peer: PROXY, memo: null, transaction: hash(i), trouble: null, ...over,
  });
  const some: WalletEntry[] = [
    entry(0, 'payout', 3_612_000_000n),
    entry(1, 'rest', 458_221_904n),
    entry(2, 'fee', -500_000_000n, { fee: paid(2_108_400n) }),
    entry(3, 'sent', -10n * TON, { peer: FRIEND, memo: 'rent', fee: paid(3_106_000n) }),
    entry(4, 'sent', -TON, { peer: FRIEND, trouble: { outcome: 'failed', why: 'the recipient did not take it' }, fee: paid(3_106_000n) }),
    entry(5, 'bounced', 996_894_000n, { peer: FRIEND }),
    entry(6, 'received', 12_500_000_000n, { peer: FRIEND }),
  ];
  if (scene === 'wallet_long') some.push(entry(7, 'received', 123_456_789_012_345_678n, { peer: FRIEND }), entry(8, 'sent', -1n, { peer: FRIEND, transaction: null }));
  const older = Array.from({ length: 120 }, (_, i) => entry(some.length + i, 'payout', 3_600_000_000n + BigInt(i) * 1_000_000n));
  return [...some, ...older];
}

export function fakeEarnings(scene: Scene, now: number): Earnings {
  const home = practice(scene);
  const empty = scene === 'empty';
  const unknown = scene === 'unknown' || scene === 'wallet_key_gone';
  const long = scene === 'wallet_long';
  const wallet = fakeWallet(scene, now);
  const flight = scene === 'wallet_flight';
  const known = <T>(value: T) => (unknown ? null : value);
  return {
    at: now,
    pays_nothing: home,
    practice: home,
    explorer: home ? null : 'tonviewer',
    pipeline: {
      counted: known({ nanoton: empty ? '0' : '14200000', kind: 'measured' as const }),
      signed: known({ nanoton: empty || flight ? '0' : long ? '987654321987654321' : '670118000', kind: 'signed' as const }),
      on_the_way: known({ nanoton: flight ? '3612000000' : '0', kind: 'signed' as const }),
      flights: flight ? 1 : 0,
      paid: known(paid(empty ? 0n : long ? 123_456_789_012_345_678n : 18_039_000_000n)),
      payouts: known(empty ? 0 : 5),
      fees: known(paid(empty ? 0n : 52_118_000n)),
    },
    threshold_nanoton: '3600000000',
    waits: empty || flight ? null : unknown ? { wait: 'chain_fails', why: 'toncenter.com: the time was up' } : scene === 'wallet_watch' ? { wait: 'fees', balance: '20000000', needed: '700000000' } : scene === 'wallet_none' ? { wait: 'no_wallet' } : { wait: 'threshold' },
    fee: empty || unknown ? null : about(11_402_000n),
    in_flight: flight ? { id: '13', errand: 'payout', to: PROXY, amount: about(3_612_000_000n), stage: 'sent', since: now - 8_000, until: now + 52_000 } : null,
    to: wallet.payout?.address.plain ?? null,
    valued: home ? { valued: 'worthless' } : empty || unknown || flight ? { valued: 'unknown' } : { valued: 'known', rate: '1.41', currency: 'EUR', source: 'CoinGecko', of: '2026-05-21' },
    power: unknown || flight ? { power: 'unknown' } : { power: 'known', price: '0.31', currency: 'EUR', from: '2026-04-01' },
  };
}

/** Bars that look like work, the same every time. */
export function fakeChart(scene: Scene, range: Range, now: number): EarnedChart {
  const [count, long] = { day: [24, HOUR] as const, week: [7, DAY] as const, month: [30, DAY] as const, all: [14, 7 * DAY] as const }[range];
  const length = ({ day: 'hour', week: 'day', month: 'day', all: 'week' } as const)[range];
  const end = range === 'day' ? Math.ceil(now / HOUR) * HOUR : new Date(new Date(now).getFullYear(), new Date(now).getMonth(), new Date(now).getDate() + 1).getTime();
  if (scene === 'empty') return { range, length, bars: [], to: end, total: { nanoton: '0', kind: 'signed' }, kwh: null };
  const size = scene === 'wallet_long' ? 98_765_432_100n : (BigInt(long / HOUR) * TON) / 40n;
  const unknown = scene === 'unknown' || scene === 'wallet_key_gone';
  let state = 7;
  const bars: Bar[] = Array.from({ length: count }, (_, i) => {
    state = (state * 1103515245 + 12345) % 2147483648;
    const gap = unknown || (range === 'month' && (i === 9 || i === 10));
    const earned = i === 16 ? 0n : (size * BigInt(300 + (state % 700))) / 1000n;
    // 150 watts for half of the time; not measured in the oldest bars.
    const milliwattHours = BigInt(Math.round((long / HOUR) * 75_000));
    const measured = !gap && i > 2;
    return {
      from: end - (count - i) * long, earned: gap ? null : { nanoton: earned.toString(), kind: 'signed' as const }, jobs: gap ? null : Math.round(Number(earned) / 6e5),
      kwh: measured ? (Number(milliwattHours) / 1e6).toFixed(6) : null, cost: measured && scene !== 'wallet_flight' ? (milliwattHours * 310n).toString() : null,
    };
  });
  const sum = bars.reduce((all, bar) => all + BigInt(bar.earned?.nanoton ?? 0), 0n);
  const kwh = bars.filter((bar) => bar.kwh !== null).map((bar) => Number(bar.kwh));
  return { range, length, bars, to: end, total: unknown ? null : { nanoton: sum.toString(), kind: 'signed' }, kwh: kwh.length ? kwh.reduce((a, b) => a + b, 0).toFixed(6) : null };
}

export function fakePayouts(scene: Scene, now: number): Payout[] {
  if (scene === 'empty' || scene === 'unknown' || scene === 'wallet_none') return [];
  const home = practice(scene);
  return Array.from({ length: 60 }, (_, i) => ({
    key: String(500 - i),
    at: now - 90 * MINUTE - i * 5 * DAY,
    amount: paid(scene === 'wallet_long' && i === 0 ? 123_456_789_012_345_678n : 3_612_000_000n - BigInt(i) * 1_300_000n),
    fee: i === 3 ? null : paid(10_402_000n + BigInt(i) * 1_000n),
    from: PROXY,
    transaction: (0x4ee5cbd30b7e1f09n * BigInt(i + 3)).toString(16).padStart(16, '0').slice(-16).repeat(4),
    worth: home || i > 1 ? null : { amount: '4.95', currency: 'EUR', source: 'CoinGecko' },
    proved: i === 1 ? { holds: 9, of: 9, at: now - HOUR } : null,
  }));
}

export function fakeVerification(key: string, now: number): Verification {
  const wrong = key === '498';
  const blind = key === '497';
  const why = 'toncenter.com: the time was up';
  const seen = (fact: Fact, found: string | null, expected: string | null = null): FactCheck =>
    blind ? { fact, holds: null, found: null, expected: null, why } : { fact, holds: true, found, expected, why: null };
  // What is in the ledger needs no chain.
  const known = { holds: true, why: null };
  return {
    key,
    at: now,
    checks: [
      seen('transaction', 'lt 58211940000003'),
      seen('message', '0xc59a7cd3'),
      { ...seen('amount', '3612000000', '3612000000'), ...(wrong ? { holds: false, found: '3609000000', why: 'it is less than the tokens are worth' } : {}) },
      seen('proxy', PROXY),
      seen('terms', null),
      seen('worker', `0:${'5'.repeat(64)}`),
      { ...seen('signature', '1002333330'), ...known },
      { ...seen('total', '1002333330', '1002333330'), ...known },
      { ...seen('counted', '1002335112', '1002333330'), ...known },
    ],
    chain_fails: blind ? why : null,
  };
}

/** What is to be known about an address, by samples: a friend, one that looks alike, an exchange, and so on. */
export function fakeFindings(text: string, scene: Scene, now: number): { address: string | null; findings: Finding[]; stop: boolean } {
  const stop = (finding: Finding, address: string | null = null) => ({ address, findings: [finding], stop: true });
  const ask = (...findings: Finding[]) => ({ address: text, findings, stop: false });
  if (/^-?\d+:[0-9a-f]{64}$/i.test(text)) return stop({ finding: 'no_checksum' });
  if (!/^[\w-]{48}$/.test(text)) return stop({ finding: 'no_address' });
  const test = /^[0k]Q/.test(text);
  if (test !== practice(scene)) return stop({ finding: 'other_network', test }, text);
  if (!/^[EUk0]Q/.test(text)) return stop({ finding: 'bad_checksum' });
  if ([OWN.plain, PRACTICE.plain].includes(text)) return stop({ finding: 'own' }, text);
  if (text === LOOKALIKE) return ask({ finding: 'looks_like', known: FRIEND }, { finding: 'not_initialised' });
  if (text.includes('Exchange')) return ask({ finding: 'exchange', name: 'Sample Exchange' });
  if (text === FRIEND) return ask({ finding: 'used_before', at: now - 4 * DAY });
  return ask({ finding: 'not_initialised' });
}

export function fakeCandidates(): WalletCandidate[] {
  return [
    { number: 0, scheme: 'ton', version: 'v5_r1', address: OWN, balance: paid(8_033_412_705n) },
    { number: 1, scheme: 'ton', version: 'v4_r2', address: FEES, balance: paid(0n) },
    { number: 2, scheme: 'bip39', version: 'v5_r1', address: HARDWARE, balance: null },
  ];
}
