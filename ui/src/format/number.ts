// Numbers as this English window writes them: 1,020 and 0.6. Not by Intl, so that they look alike on every system.

/** Decimal digits with a comma between thousands. */
export function grouped(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** A whole number of things; what is unknown is `null`. */
export function count(value: number | null | undefined): string | null {
  if (value === null || value === undefined || !Number.isFinite(value)) return null;
  const whole = Math.round(value);
  return (whole < 0 ? '−' : '') + grouped(String(Math.abs(whole)));
}

/** A reading with a fixed number of decimals. */
export function reading(value: number | null | undefined, decimals = 0): string | null {
  if (value === null || value === undefined || !Number.isFinite(value)) return null;
  const [whole = '0', rest] = Math.abs(value).toFixed(decimals).split('.');
  const minus = value < 0 && /[1-9]/.test(whole + (rest ?? '')) ? '−' : '';
  return minus + grouped(whole) + (rest ? `.${rest}` : '');
}

/** Tokens per second: whole from 10 up, one decimal below; what is there never reads as nothing. */
export function speed(value: number | null | undefined): string | null {
  if (value === null || value === undefined || !Number.isFinite(value)) return null;
  if (value === 0) return '0';
  if (value < 0.05) return '<0.1';
  return value < 9.95 ? reading(value, 1) : reading(value);
}

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

/** Bytes as people write card memory: 24 GB, 17.2 GB, 512 MB (of 1,024 each). */
export function bytes(value: number | null | undefined): string | null {
  if (value === null || value === undefined || !Number.isFinite(value)) return null;
  if (value < GIB && value !== 0) {
    const mib = value / MIB;
    return mib < 1 ? '<1 MB' : `${grouped(String(Math.round(mib)))} MB`;
  }
  const gib = value / GIB;
  return `${reading(gib, Number.isInteger(Math.round(gib * 10) / 10) ? 0 : 1) ?? '0'} GB`;
}

/** A weight in millionths (coefficient times multiplier, both in thousandths) as a plain factor: 0.1, 8. */
export function weight(millionths: number | null | undefined): string | null {
  if (millionths === null || millionths === undefined || !Number.isFinite(millionths)) return null;
  const digits = String(Math.round(millionths)).padStart(7, '0');
  const whole = grouped(digits.slice(0, -6));
  const rest = digits.slice(-6).replace(/0+$/, '');
  return rest ? `${whole}.${rest}` : whole;
}
