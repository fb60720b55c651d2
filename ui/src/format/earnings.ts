// Earnings in words: why the money waits, what was proved, and the chart in one sentence.
import type { Bar, BarLength, EarnedChart, Fact, PayoutWait, Range, Verification } from '../ipc/view';
import { m } from '../paraglide/messages.js';
import { most, tonText } from './money';
import { exact } from './wallet';
import { clock, date, midnight } from './time';

export function waitWords(wait: PayoutWait, threshold: string | null, unit: string): string {
  switch (wait.wait) {
    case 'threshold':
      return threshold === null ? m.wait_asked() : m.wait_threshold({ amount: exact(threshold, unit) });
    case 'only_when_asked':
      return m.wait_asked();
    case 'fees':
      return m.wait_fees({ balance: exact(wait.balance, unit), needed: exact(wait.needed, unit) });
    case 'no_wallet':
      return m.wait_no_wallet();
    case 'locked':
      return m.wait_locked();
    case 'chain_fails':
      return m.wait_chain({ why: wait.why.replace(/[.\s]+$/, '') });
    case 'failed':
      return m.wait_failed({ why: wait.why.replace(/[.\s]+$/, '') });
  }
}

export function factWords(fact: Fact): string {
  return {
    transaction: m.fact_transaction, message: m.fact_message, amount: m.fact_amount, proxy: m.fact_proxy, terms: m.fact_terms,
    worker: m.fact_worker, signature: m.fact_signature, total: m.fact_total, counted: m.fact_counted,
  }[fact]();
}

export interface Proof {
  holds: number;
  of: number;
  /** `true`: every fact holds. `false`: one does not. `null`: some could not be looked at. */
  good: boolean | null;
}

export function proofOf(verification: Verification): Proof {
  const holds = verification.checks.filter((check) => check.holds === true).length;
  const broken = verification.checks.some((check) => check.holds === false);
  return { holds, of: verification.checks.length, good: broken ? false : holds === verification.checks.length && holds > 0 ? true : null };
}

export function rangeName(range: Range): string {
  return { day: m.range_day, week: m.range_week, month: m.range_month, all: m.range_all }[range]();
}

export const earnedIn = (range: Range) => ({ day: m.earned_day, week: m.earned_week, month: m.earned_month, all: m.earned_all })[range]();

/** What a bar stands for: 21:00 to 22:00, 16 May, Week from 11 May, May 2026. */
export function barName(bar: Bar, length: BarLength, now: number): string {
  const from = bar.from ?? 0;
  switch (length) {
    case 'hour':
      return m.bar_hour({ from: clock(from) ?? '', to: clock(from + 3_600_000) ?? '' });
    case 'day':
      return from >= midnight(now) ? m.today() : date(from);
    case 'week':
      return m.bar_week({ day: date(from) });
    case 'month':
      return `${date(from).replace(/^\d+ /, '')} ${new Date(from).getFullYear()}`;
  }
}

/** The short form below the chart. */
export function barTick(bar: Bar, length: BarLength, now: number): string {
  const from = bar.from ?? 0;
  if (length === 'hour') return clock(from) ?? '';
  if (length === 'month') return `${date(from).replace(/^\d+ /, '').slice(0, 3)} ${new Date(from).getFullYear()}`;
  if (length === 'day' && from >= midnight(now)) return m.today();
  const [day = '', month = ''] = date(from).split(' ');
  return `${day} ${month.slice(0, 3)}`;
}

/** A round number at or above the greatest bar, in nanotons, that parts into three: 0.3, 0.6, 1.2, 3 … */
export const top = (bars: readonly Bar[]): bigint => topOf(bars.map((bar) => bar.earned?.nanoton));

/** The same of digits. */
export function topOf(values: readonly (string | null | undefined)[]): bigint {
  const greatest = BigInt(most(values) ?? '0');
  if (greatest <= 0n) return 3n;
  let step = 3n;
  const factors = [2n, 2n, 5n];
  for (let at = 0; step < greatest; at = (at + 1) % factors.length) step = at === 0 ? step * 2n : at === 1 ? step * 2n : (step / 4n) * 10n;
  return step;
}

/** The result of the chart in a sentence, for whoever does not see it. */
export function chartSentence(chart: EarnedChart, unit: string, now: number): string {
  const known = chart.bars.filter((bar) => bar.earned);
  const first = chart.bars[0];
  const last = chart.bars.at(-1);
  if (!first || !last || known.length === 0) return m.chart_none();
  const greatest = most(known.map((bar) => bar.earned?.nanoton)) ?? '0';
  const best = known.find((bar) => bar.earned?.nanoton === greatest) ?? first;
  return m.chart_sentence({
    bars: chart.bars.length,
    from: barName(first, chart.length, now),
    to: barName(last, chart.length, now),
    most: `${tonText(greatest, 3) ?? '0'} ${unit}`,
    best: barName(best, chart.length, now),
    unknown: chart.bars.length - known.length,
  });
}
