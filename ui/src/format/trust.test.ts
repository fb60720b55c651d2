import { describe, expect, it } from 'vitest';
import type { Trust, TrustPart } from '../ipc/view';
import { fakeTrust } from '../ipc/fake-trust';
import { ALL_GRADES, differs, gradeOf, gradeWords, guards, hostBytes, partStands, plainReason, proxyStands, reaches, refusalTold, shortHash, sourceWords, traffic, wallStands } from './trust';

const part = (over: Partial<TrustPart>): TrustPart => ({ kind: 'worker', name: '1', measured: 'aa', expected: 'aa', source: { source: 'nobody' }, why: null, ...over });

describe('what runs', () => {
  it('is as expected only where both are known and equal', () => {
    expect(partStands(part({})).mark).toBe('good');
    expect(partStands(part({ expected: 'ab' })).mark).toBe('bad');
    expect(partStands(part({ expected: null })).mark).toBe('look');
    expect(partStands(part({ measured: null })).mark).toBe('plain');
    expect(partStands(part({ measured: null, expected: null })).mark).toBe('plain');
  });

  it('does not explain with a missing log what was not measured yet', () => {
    expect(sourceWords(part({}))).toBe('nobody: there is no log of releases yet');
    expect(sourceWords(part({ measured: null }))).toBe('not asked yet');
  });

  it('tells what to do about a part that is not what it should be', () => {
    const with_ = (kind: TrustPart['kind']) => ({ ...fakeTrust('open', 0), parts: [part({}), part({ kind, expected: 'ab' })] });
    expect(differs({ ...fakeTrust('open', 0), parts: [part({})] })).toBeNull();
    expect(differs(with_('worker'))).toContain('Install Chrysalis anew');
    expect(differs(with_('model'))).toContain('Load it anew');
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
      const [, , memory, card] = guards(grade, true).map(({ value }) => value);
      const ownerReads = gradeWords(grade).read.includes('The owner of this computer can read');
      expect(memory === 'open').toBe(ownerReads);
      expect(card === 'open').toBe(grade !== 'hardware-isolated');
    }
  });

  it('says of every line what it does not protect against', () => {
    for (const grade of ALL_GRADES) for (const guard of guards(grade, true)) expect(guard.not.length).toBeGreaterThan(20);
    for (const scene of ['open', 'trust_windows', 'trust_rule', 'fallback'] as const) {
      const { walls, card } = fakeTrust(scene, 0);
      for (const wall of walls?.walls ?? []) expect(wallStands(wall, card).not.length).toBeGreaterThan(20);
    }
  });
});

describe('a wall', () => {
  const walls = (scene: 'open' | 'fallback' | 'trust_windows' | 'trust_rule' | 'trust_container') => {
    const { walls, card } = fakeTrust(scene, 0);
    return Object.fromEntries((walls?.walls ?? []).map((wall) => [wall.kind, wallStands(wall, card)]));
  };

  it('that is a limit says how much, and that it refuses nothing below', () => {
    expect(walls('open').memory).toMatchObject({ mark: 'good', value: 'at most 20.2 GiB' });
    expect(walls('trust_windows').memory).toMatchObject({ mark: 'look', value: 'not known' });
  });

  it('that only the worker speaks of gets no tick', () => {
    expect(walls('open').files).toMatchObject({ mark: 'plain', value: 'refused, says the worker itself' });
    expect(walls('open').network).toMatchObject({ name: 'Reaching the network', mark: 'good', value: 'refused' });
  });

  it('that is open is red, and that stands in part is worth a look', () => {
    expect(walls('trust_windows').network).toMatchObject({ mark: 'bad', value: 'open' });
    expect(walls('trust_rule').network).toMatchObject({ mark: 'look', value: 'refused in part' });
    expect(walls('trust_container').network).toMatchObject({ mark: 'good', value: 'refused' });
  });

  it('says nothing of a graphics card where none computes', () => {
    const said = (scene: 'open' | 'fallback') =>
      [...Object.values(walls(scene)), ...guards('self-claim', fakeTrust(scene, 0).card)].map(({ name, not }) => `${name} ${not}`).join(' ');
    expect(said('open')).toContain("graphics card's memory");
    expect(said('open')).toContain('graphics driver');
    expect(said('fallback')).not.toMatch(/graphics|driver/);
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
    expect(told[2]?.why).toBe('the registrar\'s statement has expired (last 9 days ago)');
    expect(fakeTrust('paused', 0).refusals).toEqual([]);
  });

  it('names grades by their titles in reasons', () => {
    expect(plainReason('this computer proves the grade known-machine-uncertified, which is not accepted here')).toBe(
      'this computer proves the grade “Known computer, chip without a certificate”, which is not accepted here',
    );
    expect(plainReason('it proves the grade self-claim')).toBe('it proves the grade “Not verified”');
    expect(plainReason('a known-machine-like thing')).toBe('a known-machine-like thing');
  });

  it('counts bytes, and does not take what is not counted for nothing', () => {
    expect([0, 612, 1_000, 12_400, 4_120_333, 5e9, 999_949, 999_951].map(traffic)).toEqual(['0 B', '612 B', '1.0 KB', '12 KB', '4.1 MB', '5.0 GB', '1,000 KB', '1.0 MB']);
    expect(traffic(null)).toBeNull();
    const host = { name: 'a', purpose: 'chain', local: false, sent: null, received: 7, last: null } as const;
    expect(hostBytes(host)).toBe('bytes not counted');
    expect(hostBytes({ ...host, sent: 3 })).toBe('3 B out, 7 B in');
  });
});
