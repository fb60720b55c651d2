import { describe, expect, it } from 'vitest';
import { fakeChart, fakeVerification } from '../ipc/fake-money-scenes';
import type { Bar, Fact, PayoutWait } from '../ipc/view';
import { barName, barTick, chartSentence, factWords, proofOf, top, waitWords } from './earnings';

const NOW = Date.UTC(2026, 4, 21, 22, 14, 5);
const bar = (from: number, nanoton: string | null): Bar => ({ from, earned: nanoton === null ? null : { nanoton, kind: 'signed' }, jobs: null, kwh: null, cost: null });

describe('why money waits', () => {
  const all: { [W in PayoutWait['wait']]: Extract<PayoutWait, { wait: W }> } = {
    threshold: { wait: 'threshold' },
    only_when_asked: { wait: 'only_when_asked' },
    fees: { wait: 'fees', balance: '20000000', needed: '700000000' },
    no_wallet: { wait: 'no_wallet' },
    locked: { wait: 'locked' },
    chain_fails: { wait: 'chain_fails', why: 'the time was up' },
    failed: { wait: 'failed', why: 'the proxy has too little' },
  };

  it('is said in a sentence each', () => {
    for (const [name, wait] of Object.entries(all)) expect(waitWords(wait, '3600000000', 'TON'), name).toMatch(/^[A-Z].*\.$/);
    expect(waitWords(all.threshold, '3600000000', 'TON')).toBe('It is fetched by itself from 3.6 TON on.');
    expect(waitWords(all.threshold, null, 'TON')).toBe('It is fetched when you ask for it.');
    expect(waitWords(all.fees, null, 'TON')).toContain('has 0.02 TON and needs 0.7 TON');
  });
});

describe('a proof', () => {
  it('holds only if every fact was looked at and holds', () => {
    expect(proofOf(fakeVerification('500', NOW))).toEqual({ holds: 9, of: 9, good: true });
    expect(proofOf(fakeVerification('498', NOW))).toEqual({ holds: 8, of: 9, good: false });
    expect(proofOf(fakeVerification('497', NOW))).toEqual({ holds: 3, of: 9, good: null });
    expect(proofOf({ key: '1', at: NOW, checks: [], chain_fails: 'x' }).good).toBeNull();
  });

  it('has words for every fact', () => {
    const facts: Record<Fact, true> = { transaction: true, message: true, amount: true, proxy: true, terms: true, worker: true, signature: true, total: true, counted: true };
    const said = Object.keys(facts).map((fact) => factWords(fact as Fact));
    expect(new Set(said).size).toBe(9);
  });
});

describe('the chart', () => {
  it('has a round top that parts into three, and every bar fits below it', () => {
    expect(['1', '3', '4', '13', '31', '61', '579999999', '600000001'].map((most) => top([bar(0, most)]))).toEqual([3n, 3n, 6n, 30n, 60n, 120n, 600_000_000n, 1_200_000_000n]);
    expect(top([])).toBe(3n);
    expect(top([bar(0, null), bar(1, '0')])).toBe(3n);
    expect(top([bar(0, '123456789012345678901')])).toBeGreaterThanOrEqual(123456789012345678901n);
  });

  it('names its bars', () => {
    const hour = Date.UTC(2026, 4, 21, 21);
    const day = Date.UTC(2026, 4, 16);
    expect(barName(bar(hour, '1'), 'hour', NOW)).toBe('21:00 to 22:00');
    expect(barName(bar(day, '1'), 'day', NOW)).toBe('16 May');
    expect(barName(bar(Date.UTC(2026, 4, 21), '1'), 'day', NOW)).toBe('Today');
    expect(barName(bar(day, '1'), 'week', NOW)).toBe('Week from 16 May');
    expect(barName(bar(Date.UTC(2026, 4, 1), '1'), 'month', NOW)).toBe('May 2026');
    expect([barTick(bar(hour, '1'), 'hour', NOW), barTick(bar(day, '1'), 'day', NOW), barTick(bar(Date.UTC(2026, 8, 1), '1'), 'month', NOW)]).toEqual(['21:00', '16 May', 'Sep 2026']);
  });

  it('is one sentence for whoever does not see it', () => {
    const chart = fakeChart('open', 'month', NOW);
    expect(chartSentence(chart, 'TON', NOW)).toMatch(/^30 bars, 22 April to Today\. Most was earned on .*: 0\.\d{3} TON\. Not known: 2\.$/);
    expect(chartSentence({ ...chart, bars: [] }, 'TON', NOW)).toBe('Nothing is known about this time.');
    expect(chartSentence({ ...chart, bars: [bar(0, null)] }, 'TON', NOW)).toBe('Nothing is known about this time.');
  });
});
