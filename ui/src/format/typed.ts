// What the owner types: amounts of money.

const NANO = 9;
/** More TON than there are; what is longer is no amount. */
const MOST_DIGITS = 12;

/** "1,234.5" or "0.5" as nanotons in digits. A comma groups thousands, and nothing else: "1,5" could mean two things and is none. */
export function typedTon(text: string): string | null {
  const [, whole = '', rest = ''] = /^(\d+|\d{1,3}(?:,\d{3})+)?(?:\.(\d*))?$/.exec(text.trim().replace(/[\s\u00a0]/g, '')) ?? [];
  const digits = whole.replaceAll(',', '');
  if ((!digits && !rest) || digits.length > MOST_DIGITS || rest.length > NANO) return null;
  return BigInt(digits + rest.padEnd(NANO, '0')).toString();
}
