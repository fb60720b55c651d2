import { describe, expect, it } from 'vitest';
import { fakeJob } from '../ipc/fake-scenes';
import { guardLanguage, knownLanguage } from '../locale';
import { ending, kindWord, tokensIn, tokensOut } from './job';
import { bytes, count, reading, speed, weight } from './number';
import { clock, duration, finishedOn, moment, nextMorning } from './time';

const NOW = Date.UTC(2026, 4, 21, 22, 14, 5);
const HOUR = 3_600_000;

describe('numbers', () => {
  it('groups thousands', () => {
    expect([0, 999, 1000, 1234567].map(count)).toEqual(['0', '999', '1,000', '1,234,567']);
  });

  it('knows no number where there is none', () => {
    for (const write of [count, reading, speed, bytes, weight]) {
      expect([null, undefined, NaN, Infinity].map((value) => write(value))).toEqual([null, null, null, null]);
    }
  });

  it('writes readings', () => {
    expect(reading(66.6)).toBe('67');
    expect(reading(-3.21, 1)).toBe('−3.2');
    expect(reading(-0.01, 1)).toBe('0.0');
  });

  it('never lets a slow answer read as none', () => {
    expect([0, 0.01, 0.42, 9.94, 9.96, 153.7].map(speed)).toEqual(['0', '<0.1', '0.4', '9.9', '10', '154']);
  });

  it('writes memory as people do', () => {
    const gib = 1024 ** 3;
    expect([0, 1, 98 * 1024 ** 2, 17.2 * gib, 24 * gib].map(bytes)).toEqual(['0 GB', '<1 MB', '98 MB', '17.2 GB', '24 GB']);
  });

  it('writes weights', () => {
    expect([1_000_000, 100_000, 8_000_000, 1_500, 0, 1_250_000].map(weight)).toEqual(['1', '0.1', '8', '0.0015', '0', '1.25']);
  });
});

describe('times', () => {
  it('writes the clock', () => {
    expect(clock(NOW)).toBe('22:14');
    expect(clock(NOW, true)).toBe('22:14:05');
    expect(clock(null)).toBeNull();
  });

  it('adds the day where it is another', () => {
    expect(moment(NOW - HOUR, NOW)).toBe('21:14');
    expect(moment(NOW + 10 * HOUR, NOW)).toBe('tomorrow 08:14');
    expect(moment(NOW - 24 * HOUR, NOW)).toBe('yesterday 22:14');
    expect(moment(NOW - 72 * HOUR, NOW)).toBe('18 May 22:14');
    expect(moment(null, NOW)).toBeNull();
  });

  it('heads the days', () => {
    expect([NOW, NOW - 24 * HOUR, NOW - 48 * HOUR, null].map((ms) => finishedOn(ms, NOW))).toEqual([
      'Finished today', 'Finished yesterday', 'Finished on 19 May', 'Finished, the time was not kept',
    ]);
  });

  it('writes lengths', () => {
    expect([0, 1_800, 68_400, 250_000, 7_500_000, -5].map(duration)).toEqual(['0.0 s', '1.8 s', '68.4 s', '4 min 10 s', '2 h 5 min', '0.0 s']);
    expect(duration(undefined)).toBeNull();
  });

  it('knows the next morning', () => {
    expect(nextMorning(NOW)).toEqual({ at: Date.UTC(2026, 4, 22, 8), tomorrow: true });
    expect(nextMorning(Date.UTC(2026, 4, 21, 2))).toEqual({ at: Date.UTC(2026, 4, 21, 8), tomorrow: false });
    expect(nextMorning(Date.UTC(2026, 4, 21, 8))).toEqual({ at: Date.UTC(2026, 4, 22, 8), tomorrow: true });
  });
});

describe('jobs in words', () => {
  it('says how each ended', () => {
    const said = [{ result: 'done' }, { result: 'stopped' }, { result: 'refused', status: 429 }, { result: 'failed', code: -1 }] as const;
    expect(said.map(ending).map(({ word, more }) => [word, more])).toEqual([
      ['Done', null], ['Stopped', 'part of an answer'], ['Refused', 'status 429'], ['Failed', 'code −1'],
    ]);
  });

  it('sums tokens and says which part was cheaper or was thinking', () => {
    const job = fakeJob(NOW, [5_120, 4_096, 1_372, 2_112]);
    expect(tokensIn(job)).toEqual({ tokens: '9,216', more: '4,096 cached' });
    expect(tokensOut(job)).toEqual({ tokens: '3,484', more: '2,112 thinking' });
    expect(tokensIn(fakeJob(NOW, [846, 0, 1, 0]))).toEqual({ tokens: '846', more: null });
    expect(tokensIn({ ...job, cached: { count: null, weight: null, counted: null } }).tokens).toBe('no data yet');
    expect(kindWord(job)).toBe('counted');
    expect(kindWord({ ...job, earned: { nanoton: '1', kind: 'signed' } })).toBeUndefined();
  });
});

describe('a language Intl does not know', () => {
  it('is replaced, so that what asks Intl while it loads does not throw', () => {
    expect(() => new Intl.NumberFormat('C')).toThrow(RangeError);
    expect(knownLanguage('C')).toBe('en-US');
    expect(knownLanguage('de-AT')).toBe('de-AT');
    const nav = { language: 'C', languages: ['C'] } as unknown as Navigator;
    guardLanguage(nav);
    expect(() => new Intl.NumberFormat(nav.language)).not.toThrow();
    expect(nav.languages).toEqual(['en-US']);
  });

  it('is otherwise left alone', () => {
    const nav = Object.freeze({ language: 'fr' }) as unknown as Navigator;
    guardLanguage(nav);
    expect(nav.language).toBe('fr');
  });
});
