import { describe, expect, it } from 'vitest';
import { typedTon } from './typed';

describe('an amount as it is typed', () => {
  it.each([
    ['1', '1000000000'],
    ['0.5', '500000000'],
    ['.5', '500000000'],
    ['5.', '5000000000'],
    [' 1,234.000000001 ', '1234000000001'],
    ['007', '7000000000'],
    ['0', '0'],
    ['5 000', '5000000000000'],
    ['999999999999.999999999', '999999999999999999999'],
  ])('%j is %s nanotons', (text, nanoton) => {
    expect(typedTon(text)).toBe(nanoton);
  });

  it.each(['', '.', ',', '1,5', '1,23', '12,3456', '1.2.3', '-1', '+1', '1e9', '0x10', '1.0000000001', '1234567890123', '１', '1 TON', 'NaN'])(
    '%j is none',
    (text) => {
      expect(typedTon(text)).toBeNull();
    },
  );
});
