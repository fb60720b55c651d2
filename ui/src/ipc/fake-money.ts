// The fake's wallet and cashier: they answer like the app, keep what they are told for tests, and move nothing.
import type { Answer, EarningsCalls, WalletCalls } from './client';
import {
  fakeCandidates, fakeChart, fakeEarnings, fakeFindings, fakeMoves, fakePayouts, fakeVerification, fakeWallet, PLACES, WORDS,
} from './fake-money-scenes';
import type { Scene } from './fake-scenes';
import type { ApiError, Done, EarnedChart, Earnings, PageQuery, Payout, Qr, Refusal, Sent, Wallet, WalletEntry } from './view';

export const PASSWORD = 'correct horse';

const YES: Done = { done: 'yes' };
const no = (refusal: Refusal): Done => ({ done: 'no', refusal });

/** A page of a list, as the app cuts it. */
function cut<T extends { key: string }>(items: readonly T[], query: PageQuery): { items: T[]; next: string | null } {
  const from = query.before ? items.findIndex((item) => item.key === query.before) + 1 : 0;
  const part = items.slice(from, from + query.limit);
  return { items: part, next: from + query.limit < items.length ? (part.at(-1)?.key ?? null) : null };
}

export class FakeMoney {
  wallet_: Wallet;
  moves_: WalletEntry[];
  earnings_: Earnings;
  payouts_: Payout[];
  /** Changes the chart before it is given out. */
  chart_: (chart: EarnedChart) => EarnedChart = (chart) => chart;
  /** While set, whatever could be refused is, with it. */
  refusal: Refusal | null = null;
  /** What was asked for, for tests: the call and what came with it. */
  readonly asked: [string, ...unknown[]][] = [];

  #scene: Scene;
  #now: number;
  #error: () => ApiError | null;

  constructor(scene: Scene, now: number, error: () => ApiError | null) {
    this.#scene = scene;
    this.#now = now;
    this.#error = error;
    this.wallet_ = fakeWallet(scene, now);
    this.moves_ = fakeMoves(scene, now);
    this.earnings_ = fakeEarnings(scene, now);
    this.payouts_ = fakePayouts(scene, now);
  }

  #answer<T>(data: T): Promise<Answer<T>> {
    const error = this.#error();
    return Promise.resolve(error ? { status: 'error', error } : { status: 'ok', data });
  }

  #done(name: string, ...with_: unknown[]): Promise<Answer<Done>> {
    this.asked.push([name, ...with_]);
    return this.#answer(this.refusal ? no(this.refusal) : YES);
  }

  #sent(name: string, id: string, ...with_: unknown[]): Promise<Answer<Sent>> {
    this.asked.push([name, ...with_]);
    return this.#answer<Sent>(this.refusal ? { sent: 'no', refusal: this.refusal } : { sent: 'begun', id });
  }

  readonly wallet: WalletCalls = {
    page: () => this.#answer(this.wallet_),
    history: (query) => {
      const { items, next } = cut(this.moves_, query);
      return this.#answer({ entries: items, next });
    },
    check: (text) => this.#answer(fakeFindings(text, this.#scene, this.#now)),
    prepare: (order) => {
      this.asked.push(['prepare', order]);
      if (this.refusal) return this.#answer({ prepared: 'no' as const, refusal: this.refusal });
      const have = BigInt(this.wallet_.balance?.nanoton ?? 0);
      const fee = 6_214_000n;
      const amount = order.everything ? have - fee : BigInt(order.nanoton);
      const reserve = BigInt(this.wallet_.reserve_nanoton);
      if (amount + fee > have) return this.#answer({ prepared: 'no' as const, refusal: { refusal: 'not_enough' as const, have: String(have), need: String(amount + fee) } });
      if (!order.everything && have - amount - fee < reserve) return this.#answer({ prepared: 'no' as const, refusal: { refusal: 'reserve' as const, most: String(have - reserve - fee) } });
      const money = (nanoton: bigint) => ({ nanoton: String(nanoton), kind: 'estimate' as const });
      const draft = {
        id: 'd1', to: order.to, amount: money(amount), memo: order.memo || null, fee: money(fee), balance_after: money(have - amount - fee), below_reserve: order.everything,
        needs_password: this.wallet_.state.state === 'locked', until: Date.now() + 60_000,
      };
      return this.#answer({ prepared: 'ready' as const, draft });
    },
    confirm: async (draft, password) => {
      if (this.wallet_.state.state === 'locked' && password !== PASSWORD) return this.#answer<Sent>({ sent: 'no', refusal: { refusal: 'wrong_password' } });
      const answer = await this.#sent('confirm', '12', draft);
      if (answer.status === 'ok' && answer.data.sent === 'begun') {
        const back = draft === 'd2';
        const order = back ? null : (this.asked.findLast(([name]) => name === 'prepare')?.[1] as { to: string; nanoton: string });
        const amount = { nanoton: order?.nanoton ?? this.wallet_.payer?.balance?.nanoton ?? '0', kind: 'estimate' as const };
        this.wallet_ = { ...this.wallet_, in_flight: { id: '12', errand: back ? 'take_back' : 'send', to: order?.to ?? this.wallet_.payout?.address.plain ?? '', amount, stage: 'planned', since: Date.now(), until: null } };
      }
      return answer;
    },
    create: (protect) => this.#done('create', protect.place),
    reveal: (password) => {
      this.asked.push(['reveal']);
      const place = this.wallet_.key_place;
      const needs = place === 'password' || place === 'keychain_and_password';
      const refusal: Refusal | null = this.refusal ?? (needs && password !== PASSWORD ? { refusal: 'wrong_password' } : null);
      return this.#answer(refusal ? { revealed: 'no' as const, refusal } : { revealed: 'words' as const, words: [...WORDS], places: [...PLACES] });
    },
    quiz: (answers) => {
      const right = answers.length === PLACES.length && PLACES.every((place, i) => answers[i] === WORDS[place - 1]);
      if (right) this.wallet_ = { ...this.wallet_, written_down: true, remind: false };
      this.asked.push(['quiz', right]);
      return this.#answer(right ? YES : no({ refusal: 'wrong_words' }));
    },
    read: (text) => {
      const words = text.trim().split(/\s+/);
      const unknown = words.findIndex((word) => !/^[a-z]+$/i.test(word));
      if (unknown >= 0) return this.#answer({ read: 'unknown' as const, place: unknown + 1 });
      if (![12, 15, 18, 21, 24].includes(words.length)) return this.#answer({ read: 'count' as const, count: words.length });
      if (words[0] === 'wrong') return this.#answer({ read: 'checksum' as const });
      return this.#answer({ read: 'candidates' as const, draft: 'w1', candidates: fakeCandidates() });
    },
    save: (draft, candidate, protect) => this.#done('save', draft, candidate, protect.place),
    forget: () => this.#done('forget'),
    payTo: (text) => {
      this.asked.push(['payTo', text]);
      if (this.refusal) return this.#answer({ payout: 'no' as const, refusal: this.refusal });
      return this.#answer(this.wallet_.payout ? { payout: 'waits' as const, from: this.#now + 86_400_000 } : { payout: 'now' as const });
    },
    keepPayoutAddress: () => this.#done('keepPayoutAddress'),
    unlock: (password) => {
      this.asked.push(['unlock']);
      const good = this.wallet_.key_place !== 'password' || password === PASSWORD;
      if (good) this.wallet_ = { ...this.wallet_, state: { state: 'unlocked', locks_at: null } };
      return this.#answer(good ? YES : no({ refusal: 'wrong_password' }));
    },
    lock: () => this.#done('lock'),
    delete: (address) => this.#done('delete', address),
    setAside: () => {
      this.asked.push(['setAside']);
      return this.#answer(this.refusal ? { aside: 'no' as const, refusal: this.refusal } : { aside: 'moved' as const, path: '/home/robin/.local/share/chrysalis/wallet.aside-1' });
    },
    rules: (rules) => this.#done('rules', rules),
    dismissReminder: () => this.#done('dismissReminder'),
    takeRestBack: () => {
      this.asked.push(['takeRestBack']);
      if (this.refusal) return this.#answer({ prepared: 'no' as const, refusal: this.refusal });
      const money = (nanoton: bigint) => ({ nanoton: String(nanoton), kind: 'estimate' as const });
      const have = BigInt(this.wallet_.payer?.balance?.nanoton ?? 0);
      const draft = {
        id: 'd2', to: this.wallet_.payout?.address.plain ?? '', amount: money(have - 3_000_000n), memo: null, fee: money(3_000_000n), balance_after: money(0n), below_reserve: false,
        needs_password: false, until: Date.now() + 60_000,
      };
      return this.#answer({ prepared: 'ready' as const, draft });
    },
    show: (target) => this.#done('show', target),
    qr: (text) => this.#answer(fakeQr(text)),
  };

  readonly earnings: EarningsCalls = {
    page: () => this.#answer(this.earnings_),
    chart: (range) => {
      this.asked.push(['chart', range]);
      return this.#answer(this.chart_(fakeChart(this.#scene, range, this.#now)));
    },
    payouts: (query) => {
      const { items, next } = cut(this.payouts_, query);
      return this.#answer({ payouts: items, next });
    },
    verify: (key) => {
      this.asked.push(['verify', key]);
      return this.#answer(fakeVerification(key, this.#now));
    },
    forecast: () =>
      this.#answer(
        this.refusal
          ? { take: 'no' as const, refusal: this.refusal }
          : { take: 'ready' as const, income: { nanoton: this.earnings_.pipeline.signed?.nanoton ?? '0', kind: 'signed' as const }, fee: { nanoton: '11402000', kind: 'estimate' as const }, kept: null },
      ),
    take: () => this.#sent('take', '13'),
    threshold: (nanoton) => this.#done('threshold', nanoton),
    rate: (order) => {
      if (!this.refusal) this.earnings_ = { ...this.earnings_, valued: { valued: 'known', rate: order.rate, currency: order.currency, source: order.source, of: '2026-05-21' } };
      return this.#done('rate', order);
    },
    power: (order) => {
      if (!this.refusal) this.earnings_ = { ...this.earnings_, power: { power: 'known', ...order } };
      return this.#done('power', order);
    },
    export: (order) => {
      this.asked.push(['export', order]);
      return this.#answer(
        this.refusal
          ? { exported: 'no' as const, refusal: this.refusal }
          : { exported: 'written' as const, path: '/home/robin/Documents/Chrysalis payouts 2026.csv', payouts: 5, without_rate: 2 },
      );
    },
  };
}

/** Squares that look like such a picture and say nothing. */
function fakeQr(text: string): Qr {
  const size = 33;
  let state = [...text].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 2147483648, 7);
  const ring = (x: number, y: number) => Math.max(Math.abs(x - 3), Math.abs(y - 3));
  const mark = (x: number, y: number) => [[x, y], [size - 1 - x, y], [x, size - 1 - y]].map(([a = 9, b = 9]) => ring(a, b)).find((at) => at <= 4);
  const square = (x: number, y: number) => {
    state = (state * 1103515245 + 12345) % 2147483648;
    const at = mark(x, y);
    return at === undefined ? (state >> 12) % 2 === 0 : at !== 2 && at !== 4;
  };
  return { rows: Array.from({ length: size }, (_, y) => Array.from({ length: size }, (__, x) => (square(x, y) ? '1' : '0')).join('')) };
}
