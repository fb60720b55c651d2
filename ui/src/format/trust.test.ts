import { describe, expect, it } from 'vitest';
import type { Trust, TrustPart } from '../ipc/view';
import { fakeTrust } from '../ipc/fake-trust';
import { ALL_GRADES, gradeOf, gradeWords, guards, hostBytes, partStands, proxyStands, reaches, refusalTold, shortHash, traffic, wallStands } from './trust';

const part = (over: Partial<TrustPart>): TrustPart => ({ kind: 'worker', name: '1', measured: 'aa', expected: 'aa', source: { source: 'nobody' }, why: null, ...over });

describe('what runs', () => {
  it('is as expected only where both are known and equal', () => {
    expect(partStands(part({})).mark).toBe('good');
    expect(partStands(part({ expected: 'ab' })).mark).toBe('bad');
    expect(partStands(part({ expected: null })).mark).toBe('look');
    expect(partStands(part({ measured: null })).mark).toBe('plain');
    expect(partStands(part({ measured: null, expected: null })).mark).toBe('plain');
  });

  it('shows the ends of a hash', () => {
    expect(shortHash(`4283fefc${'0'.repeat(52)}35cb`)).toBe('4283 fefc … 35cb');
    expect(shortHash('abc')).toBe('abc');
  });
});

describe('a grade', () => {
  it('is nothing proved where nothing was made', () => {
    expect(gradeOf({ ...fakeTrust('open', 0), proved: null } as Trust)).toBe('self-claim');
  });

  it('is ordered', () => {
    expect(ALL_GRADES).toEqual(['self-claim', 'known-machine-uncertified', 'known-machine', 'processor-isolated', 'hardware-isolated']);
    expect(reaches('known-machine', 'processor-isolated')).toBe(false);
    expect(reaches('processor-isolated', 'processor-isolated')).toBe(true);
  });

  it('closes memory only where its wording does', () => {
    for (const grade of ALL_GRADES) {
      const [, , memory, card] = guards(grade).map(({ value }) => value);
      const ownerReads = gradeWords(grade).read.includes('The owner of this computer can read');
      expect(memory === 'open').toBe(ownerReads);
      expect(card === 'open').toBe(grade !== 'hardware-isolated');
    }
  });

  it('says of every line what it does not protect against', () => {
    for (const grade of ALL_GRADES) for (const guard of guards(grade)) expect(guard.not.length).toBeGreaterThan(20);
    for (const wall of fakeTrust('trust_windows', 0).walls?.walls ?? []) expect(wallStands(wall).not.length).toBeGreaterThan(20);
  });
});

describe('proxies and hosts', () => {
  it('says who was refused, by whom, and why', () => {
    expect(fakeTrust('trust_refused', 0).proxies.map(proxyStands).map(({ mark, word }) => [mark, word])).toEqual([
      ['good', 'accepted as: Known computer, chip without a certificate'], ['bad', 'refused'], ['bad', 'not trusted here'], ['plain', 'connecting'],
    ]);
  });

  it('tells refusals that were written down, by whom, why and when', () => {
    const told = fakeTrust('trust_refused', 0).refusals.map((refusal) => refusalTold(refusal, '9 days ago'));
    expect(told.map(({ word }) => word)).toEqual(['refused this PC', 'was not trusted by this PC', 'refused this PC']);
    expect(told[2]?.why).toBe('the registrar\'s statement has expired (9 days ago)');
    expect(fakeTrust('paused', 0).refusals).toEqual([]);
  });

  it('counts bytes, and does not take what is not counted for nothing', () => {
    expect([0, 612, 1_000, 12_400, 4_120_333, 5e9, 999_949, 999_951].map(traffic)).toEqual(['0 B', '612 B', '1.0 KB', '12 KB', '4.1 MB', '5.0 GB', '1,000 KB', '1.0 MB']);
    expect(traffic(null)).toBeNull();
    const host = { name: 'a', purpose: 'chain', local: false, sent: null, received: 7 } as const;
    expect(hostBytes(host)).toBe('bytes not counted');
    expect(hostBytes({ ...host, sent: 3 })).toBe('3 B out, 7 B in');
  });
});
