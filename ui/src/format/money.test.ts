import { describe, expect, it } from 'vitest';
import { DECIMALS, isNothing, minus, most, perMillion, rough, share, ton, tonExact, tonSigned, tonText } from './money';

describe('money', () => {
  it.each([
    ['83812345', DECIMALS.rate, '0.0838'],
    ['612488120', DECIMALS.day, '0.612'],
    ['12280411992', DECIMALS.month, '12.28'],
    ['601218', DECIMALS.job, '0.000601'],
    ['1000000000', 2, '1.00'],
    ['1234567890123456789', 2, '1,234,567,890.12'],
  ])('writes %s nanotons with %i decimals', (nanoton, decimals, text) => {
    expect(tonText(nanoton, decimals)).toBe(text);
  });

  it('never shows more than there is', () => {
    expect(tonText('999999999', 3)).toBe('0.999');
    expect(tonText('1999999999', 2)).toBe('1.99');
  });

  it('never shows a debt smaller than it is', () => {
    expect(tonText('-1000001', 3)).toBe('−0.002');
    expect(tonText('-1000000', 3)).toBe('−0.001');
    expect(tonText('-1', 2)).toBe('−0.01');
  });

  it('shows a true zero as 0 and what is too small for its digits as less than the smallest', () => {
    expect(tonText('0', 6)).toBe('0');
    expect(tonText('1', 6)).toBe('<0.000001');
    expect(tonText('999999', 3)).toBe('<0.001');
  });

  it('keeps every digit of sums that no number of the language could hold', () => {
    expect(tonText('9007199254740993000000001', 9)).toBe('9,007,199,254,740,993.000000001');
  });

  it.each(['', '1.5', '1e9', 'NaN', '0x10', '--1', ' 1', '１'])('is not fooled by %j', (text) => {
    expect(ton(text, 3)).toBeNull();
    expect(perMillion(text)).toBeNull();
    expect(isNothing(text)).toBe(false);
  });

  it('lets the decimals step back from 1 TON up', () => {
    expect(ton('999999999', 3)?.mutedDecimals).toBe(false);
    expect(ton('1000000000', 3)?.mutedDecimals).toBe(true);
    expect(ton('12000000000', 2)?.mutedDecimals).toBe(true);
  });

  it('gives the pay per million with as many decimals as it needs', () => {
    expect(perMillion('18')).toBe('0.018');
    expect(perMillion('1000')).toBe('1');
    expect(perMillion('1')).toBe('0.001');
    expect(perMillion('0')).toBe('0');
    expect(perMillion('123456789')).toBe('123,456.789');
  });

  it('writes every digit where the owner is to agree to an amount', () => {
    expect(['5000000000', '6000000', '1234000000001', '0', '-1', '1'].map(tonExact)).toEqual(['5', '0.006', '1,234.000000001', '0', '−0.000000001', '0.000000001']);
    expect(tonExact('5 TON')).toBeNull();
  });

  it('writes an estimate with two digits, never below it', () => {
    expect(['6214000', '11402000', '9990000', '5', '0', '1234567890123'].map(rough)).toEqual(['0.0063', '0.012', '0.01', '0.000000005', '0', '1,300']);
    expect(rough('x')).toBeNull();
  });

  it('says which way money went', () => {
    expect(['3612000000', '-10000000000', '0', '1', 'x'].map((amount) => tonSigned(amount, 3))).toEqual(['+3.612', '−10.000', '0', '+<0.001', null]);
  });

  it('subtracts, compares and draws without losing a nanoton', () => {
    expect(minus('9007199254740993000', '1')).toBe('9007199254740992999');
    expect(minus('1', '2')).toBe('-1');
    expect(minus('1', '')).toBeNull();
    expect(most([null, '2', '10', undefined])).toBe('10');
    expect(most([null])).toBeNull();
    expect([share('1', '4'), share('5', '4'), share('0', '4'), share(null, '4'), share('1', '0'), share('-1', '4')]).toEqual([0.25, 1, 0, 0, 0, 0]);
  });
});
