// What coins are worth and what electricity takes of it. All of it in digits: amounts of a currency are counted in thousand-millionths,
// as coins are in nanotons.
import type { Bar, EarnedChart, Earnings } from '../ipc/view';
import { m } from '../paraglide/messages.js';
import { minus, tonText } from './money';
import { dayName } from './time';

const NANO = 9;
const ONE = 10n ** BigInt(NANO);

export type ShownIn = 'ton' | 'currency';

/** Digits with at most one point, in thousand-millionths; `null` for what is none, or nothing. */
export function parts(text: string): bigint | null {
  const [, whole = '', rest = ''] = /^(\d{0,9})(?:\.(\d{0,9}))?$/.exec(text) ?? [];
  const value = whole || rest ? BigInt(whole + rest.padEnd(NANO, '0')) : 0n;
  return value > 0n ? value : null;
}

/** What so many nanotons are worth, rounded down. */
export function worth(nanoton: string, rate: string): string | null {
  const by = parts(rate);
  return by === null || !/^-?\d{1,40}$/.test(nanoton) ? null : ((BigInt(nanoton) * by) / ONE).toString();
}

/** How many nanotons have this worth, rounded down. */
export function coinsFor(billionths: string, rate: string): string | null {
  const by = parts(rate);
  return by === null || !/^\d{1,40}$/.test(billionths) ? null : ((BigInt(billionths) * ONE) / by).toString();
}

export type Rate = Extract<Earnings['valued'], { valued: 'known' }>;

export const rateOf = (earnings: Earnings): Rate | null => (earnings.valued.valued === 'known' ? earnings.valued : null);

/** Whose rate it is, and of which day. */
export const rateSource = (rate: Rate): string => m.rate_source({ rate: rate.rate, currency: rate.currency, source: rate.source, day: dayName(rate.of) });

/** Why nothing can be shown in a currency; `null`: it can. */
export function whyNoCurrency(earnings: Earnings): string | null {
  const { valued } = earnings;
  switch (valued.valued) {
    case 'known':
      return null;
    case 'worthless':
      return m.currency_worthless();
    case 'unknown':
      return m.currency_unknown();
    case 'unreadable':
      return m.table_unreadable({ why: valued.why.replace(/[.\s]+$/, '') });
  }
}

/** A bar in what is shown: coins or currency. What is unknown stays so. */
export interface Shown {
  earned: string | null;
  /** Less the electricity. */
  after: string | null;
}

/** Whether a price of electricity and a rate are of one currency. */
const comparable = (earnings: Earnings): Rate | null => {
  const rate = rateOf(earnings);
  return rate && earnings.power.power === 'known' && earnings.power.currency === rate.currency ? rate : null;
};

export function shown(bar: Bar, earnings: Earnings, how: ShownIn): Shown {
  const nanoton = bar.earned?.nanoton ?? null;
  const rate = rateOf(earnings);
  const earned = nanoton === null ? null : how === 'ton' ? nanoton : rate && worth(nanoton, rate.rate);
  const by = comparable(earnings);
  const cost = bar.cost === null || !by ? null : how === 'ton' ? coinsFor(bar.cost, by.rate) : bar.cost;
  return { earned, after: earned === null || cost === null ? null : minus(earned, cost) };
}

/** All bars together; `after` is unknown if it is in one that has something. */
export function shownTotal(chart: EarnedChart, earnings: Earnings, how: ShownIn): Shown {
  const bars = chart.bars.map((bar) => shown(bar, earnings, how));
  const known = bars.filter((bar) => bar.earned !== null);
  const measured = bars.filter((bar) => bar.after !== null);
  const whole = measured.length > 0 && known.every((bar) => bar.after !== null || bar.earned === '0');
  const sum = (some: (string | null)[]) => some.reduce((all, one) => all + BigInt(one ?? 0), 0n).toString();
  const total = chart.total?.nanoton ?? null;
  const rate = rateOf(earnings);
  return {
    earned: total === null ? null : how === 'ton' ? total : rate && worth(total, rate.rate),
    after: whole ? sum(measured.map((bar) => bar.after)) : null,
  };
}

/** Why there is no line after electricity; `null`: there is one. */
export function whyNoLine(chart: EarnedChart, earnings: Earnings): string | null {
  const measured = chart.bars.filter((bar) => bar.kwh !== null);
  if (measured.length === 0) return m.line_not_measured();
  const { power } = earnings;
  if (power.power === 'unreadable') return m.table_unreadable({ why: power.why.replace(/[.\s]+$/, '') });
  if (power.power === 'unknown') return m.line_no_price();
  const why = whyNoCurrency(earnings);
  if (why) return why;
  if (!comparable(earnings)) return m.line_other_currency({ price: power.currency, rate: rateOf(earnings)?.currency ?? '' });
  if (measured.every((bar) => bar.cost === null)) return m.line_price_later();
  return null;
}

/** An amount of what is shown: coins with so many decimals, or a currency with two. */
export const amountText = (digits: string, how: ShownIn, decimals: number): string => tonText(digits, how === 'ton' ? decimals : 2) ?? m.no_data_yet();
