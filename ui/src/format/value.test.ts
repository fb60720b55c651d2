import { describe, expect, it } from 'vitest';
import { fakeChart, fakeEarnings } from '../ipc/fake-money-scenes';
import { amountText, coinsFor, parts, shown, shownTotal, whyNoCurrency, whyNoLine, worth } from './value';

const NOW = Date.UTC(2026, 4, 21, 22, 14, 5);
const open = fakeEarnings('open', NOW);

describe('a rate', () => {
  it('is digits with at most one point, and nothing else', () => {
    expect(['1', '0.31', '.5', '1.', '123456789.123456789'].map(parts)).toEqual([1_000_000_000n, 310_000_000n, 500_000_000n, 1_000_000_000n, 123456789123456789n]);
    for (const wrong of ['', '.', '0', '0.0', '-1', '1,5', '1e3', '1.0000000001', '1234567890', ' 1', 'x']) expect(parts(wrong), wrong).toBeNull();
  });

  it('is multiplied and divided in every digit, rounded down', () => {
    expect(worth('3610000001', '1.41')).toBe('5090100001');
    expect(worth('987654321987654321', '999999999.999999999')).toBe('987654321987654320012345678');
    expect(coinsFor('1410000000', '1.41')).toBe('1000000000');
    expect(coinsFor('1', '3')).toBe('0');
    for (const wrong of ['', 'x', '1.5']) expect([worth(wrong, '1'), worth('1', wrong === '1.5' ? '' : wrong), coinsFor(wrong, '1')]).toEqual([null, null, null]);
  });
});

describe('after electricity', () => {
  const bar = { from: 0, earned: { nanoton: '1000000000', kind: 'measured' as const }, jobs: 1, kwh: '1.000000', cost: '310000000' };

  it('is what was earned less the cost, in coins and in the currency', () => {
    expect(shown(bar, open, 'currency')).toEqual({ earned: '1410000000', after: '1100000000' });
    expect(shown(bar, open, 'ton')).toEqual({ earned: '1000000000', after: '780141844' });
    expect(amountText('1100000000', 'currency', 6)).toBe('1.10');
  });

  it('is unknown where anything is: never a 0, never a rate that nobody named', () => {
    for (const how of ['ton', 'currency'] as const) {
      expect(shown({ ...bar, earned: null }, open, how)).toEqual({ earned: null, after: null });
      expect(shown({ ...bar, cost: null }, open, how).after).toBeNull();
      expect(shown(bar, { ...open, valued: { valued: 'unknown' } }, how).after).toBeNull();
      expect(shown(bar, { ...open, power: { power: 'known', price: '1', currency: 'USD', from: '2026-01-01' } }, how).after).toBeNull();
    }
    expect(shown(bar, { ...open, valued: { valued: 'unknown' } }, 'currency').earned).toBeNull();
  });

  it('has a sum only if all of it is known', () => {
    const chart = fakeChart('open', 'month', NOW);
    expect(shownTotal(chart, open, 'ton').after).toBeNull();
    const whole = { ...chart, bars: [bar, { ...bar, earned: { nanoton: '0', kind: 'measured' as const }, kwh: null, cost: null }], total: bar.earned };
    expect(shownTotal(whole, open, 'ton')).toEqual({ earned: '1000000000', after: '780141844' });
    expect(whyNoLine(whole, open)).toBeNull();
    expect(whyNoLine({ ...whole, bars: [{ ...bar, cost: null }] }, open)).toMatch(/later day/);
    expect(whyNoCurrency(open)).toBeNull();
  });
});
