// Money: digits in, digits out. It never becomes a number of this language, which could not hold it.

export interface Amount {
  /** "−" for less than nothing. */
  sign: '' | '−';
  /** "<" where something is there, but less than the last digit shown. */
  less: '' | '<';
  whole: string;
  /** With its point; empty for a true zero. */
  decimals: string;
  /** From 1 TON up the decimals step back. */
  mutedDecimals: boolean;
}

const NANO = 9;

function parse(nanoton: string): bigint | null {
  return /^-?\d{1,40}$/.test(nanoton) ? BigInt(nanoton) : null;
}

/** TON with so many decimals, rounded down, so that a sum is never shown as more than it is. `null` for what is no amount. */
export function ton(nanoton: string, decimals: number): Amount | null {
  const value = parse(nanoton);
  if (value === null) return null;
  if (value === 0n) return { sign: '', less: '', whole: '0', decimals: '', mutedDecimals: true };

  const sign = value < 0n ? '−' : '';
  const step = 10n ** BigInt(NANO - decimals);
  const size = value < 0n ? -value : value;
  // Down means away from zero for what is owed by the owner.
  const steps = value < 0n ? (size + step - 1n) / step : size / step;
  const less = steps === 0n ? '<' : '';
  const digits = (less ? 1n : steps).toString().padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
  return {
    sign,
    less,
    whole,
    decimals: decimals ? `.${digits.slice(digits.length - decimals)}` : '',
    mutedDecimals: digits.length > decimals + 1 || digits[0] !== '0',
  };
}

/** The same in one word: −12.28, <0.001. */
export function tonText(nanoton: string, decimals: number): string | null {
  const amount = ton(nanoton, decimals);
  return amount && amount.less + amount.sign + amount.whole + amount.decimals;
}

/** Every digit there is, and none that says nothing: 5, 0.006, 1,234.000000001. */
export function tonExact(nanoton: string): string | null {
  return trimmed(tonText(nanoton, NANO));
}

/** How many decimals an amount has that say something. */
export const decimalsOf = (nanoton: string): number => tonExact(nanoton)?.split('.')[1]?.length ?? 0;

const trimmed = (text: string | null) => text && text.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');

/** Two digits that say something, rounded up: an estimate must not look like more than it is. 6,214,000 nanotons are 0.0063. */
export function rough(nanoton: string): string | null {
  const value = parse(nanoton);
  if (value === null || value < 0n) return tonExact(nanoton);
  const step = 10n ** BigInt(Math.max(0, value.toString().length - 2));
  return tonExact((((value + step - 1n) / step) * step).toString());
}

/** With its sign, as a list of what came and went shows it: +3.612, −10.000. */
export function tonSigned(nanoton: string, decimals: number): string | null {
  const text = tonText(nanoton, decimals);
  return text === null || text === '0' || text.includes('−') ? text : `+${text}`;
}

/** A difference of two amounts, both in digits. */
export function minus(a: string, b: string): string | null {
  const [from, take] = [parse(a), parse(b)];
  return from === null || take === null ? null : (from - take).toString();
}

/** How much of `whole` a part is, from 0 to 1, for a drawing and nothing else. */
export function share(part: string | null | undefined, whole: string | null | undefined): number {
  const [some, all] = [parse(part ?? ''), parse(whole ?? '')];
  if (some === null || all === null || some <= 0n || all <= 0n) return 0;
  return some >= all ? 1 : Number((some * 10_000n) / all) / 10_000;
}

/** The greatest of some amounts; what is unknown is none of them. */
export function most(amounts: readonly (string | null | undefined)[]): string | null {
  const known = amounts.map((amount) => parse(amount ?? '')).filter((amount) => amount !== null);
  return known.length ? known.reduce((a, b) => (a > b ? a : b)).toString() : null;
}

/** What a million counted tokens bring, in TON with as many decimals as it needs: 18 nanotons each are 0.018. */
export function perMillion(feeNanoton: string): string | null {
  const fee = parse(feeNanoton);
  if (fee === null) return null;
  return trimmed(tonText((fee * 1_000_000n).toString(), NANO));
}

export function isNothing(nanoton: string): boolean {
  return parse(nanoton) === 0n;
}

/** How many decimals each place has (design: rate 4, day 3, month 2, one job 6). */
export const DECIMALS = { rate: 4, day: 3, month: 2, job: 6 } as const;
