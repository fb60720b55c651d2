import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Fake } from '../ipc/fake';
import { fakeJob } from '../ipc/fake-scenes';
import type { Job } from '../ipc/view';
import { merged, PAGE_SIZE } from './list.svelte';
import { pauseChoices } from './pause';
import { Store } from './store.svelte';

const NOW = Date.UTC(2026, 4, 21, 22, 14, 5);

beforeEach(() => void vi.useFakeTimers({ now: NOW }));
afterEach(() => void vi.useRealTimers());

async function opened(scene: ConstructorParameters<typeof Fake>[0] = 'open') {
  const fake = new Fake(scene);
  const store = new Store(fake);
  await store.open();
  return { fake, store };
}

describe('the snapshot', () => {
  it('is asked for once and then replaced slice by slice', async () => {
    const { fake, store } = await opened();
    expect(store.home?.network.model).toBe('Qwen3-8B');
    const cards = store.cards;
    fake.say({ event: 'home', data: { ...fake.home_, status: { state: 'loading' } } });
    expect(store.home?.status.state).toBe('loading');
    expect(store.cards).toBe(cards);
    fake.say({ event: 'cards', data: [] });
    expect(store.cards).toEqual([]);
    expect(store.home?.status.state).toBe('loading');
    store.close();
    expect(fake.listeners).toBe(0);
  });

  it('shows the page the tray asks for', async () => {
    const { fake, store } = await opened();
    fake.say({ event: 'show', data: { page: 'jobs' } });
    expect(store.page).toBe('jobs');
    store.close();
  });

  it('keeps old values when the app is gone, and heals with the next event', async () => {
    const { fake, store } = await opened();
    fake.error = { code: 'app_gone', message: 'closed' };
    await store.refresh();
    expect(store.trouble?.code).toBe('app_gone');
    expect(store.home).not.toBeNull();
    fake.say({ event: 'home', data: fake.home_ });
    expect(store.trouble).toBeNull();
    store.close();
  });

  it('asks by itself after half a minute of silence', async () => {
    const { fake, store } = await opened();
    fake.error = { code: 'app_gone', message: 'closed' };
    await vi.advanceTimersByTimeAsync(29_000);
    expect(store.trouble).toBeNull();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(store.trouble?.code).toBe('app_gone');
    store.close();
  });

  it('says that it can not listen', async () => {
    const fake = new Fake('open');
    fake.listen = () => Promise.reject(new Error('no bridge'));
    fake.error = { code: 'app_gone', message: 'no bridge' };
    const store = new Store(fake);
    await store.open();
    expect(store.trouble?.code).toBe('app_gone');
    store.close();
  });
});

describe('a wish', () => {
  it('is on its way until the app has answered', async () => {
    const { fake, store } = await opened();
    const sent = store.wish({ wish: 'pause', until: null });
    expect(store.asked).toEqual({ wish: 'pause', until: null });
    await sent;
    expect(store.asked).toBeNull();
    expect(store.home?.wish).toEqual({ wish: 'pause', until: null });
    expect(store.home?.status.state).toBe('working');
    fake.obey();
    expect(store.home?.status.state).toBe('paused');
    store.close();
  });

  it('is sent once, however often it is pressed', async () => {
    const { fake, store } = await opened();
    await Promise.all([store.wish({ wish: 'finish_and_pause' }), store.wish({ wish: 'finish_and_pause' })]);
    expect(fake.wishes).toHaveLength(1);
    store.close();
  });

  it('that did not arrive is said', async () => {
    const { fake, store } = await opened();
    fake.error = { code: 'request', message: 'until is in the past' };
    await store.wish({ wish: 'work' });
    expect(store.wishTrouble?.code).toBe('request');
    expect(store.asked).toBeNull();
    store.close();
  });

  it('counts a length of time from the moment it is chosen', () => {
    const choices = pauseChoices(NOW);
    expect(choices.map(({ label }) => label)).toEqual(['For 15 minutes', 'For 1 hour', 'Until tomorrow 08:00', 'Until I say so']);
    vi.setSystemTime(NOW + 60_000);
    expect(choices.map(({ wish }) => wish())).toEqual([
      { wish: 'pause', until: NOW + 16 * 60_000 },
      { wish: 'pause', until: NOW + 61 * 60_000 },
      { wish: 'pause', until: Date.UTC(2026, 4, 22, 8) },
      { wish: 'pause', until: null },
    ]);
    expect(pauseChoices(Date.UTC(2026, 4, 21, 3))[2]?.label).toBe('Until 08:00');
  });
});

const job = (key: number): Job => fakeJob(NOW - key, [1, 0, 1, 0], { key: String(key) });
const keys = (jobs: readonly Job[] | null) => jobs?.map(({ key }) => key);

describe('the list of jobs', () => {
  it('puts fresh jobs in front and keeps what was loaded behind', () => {
    const after = merged({ items: [job(5), job(4), job(3), job(2)], next: '2' }, { items: [job(6), job(5), job(4)], next: '4' });
    expect(keys(after.items)).toEqual(['6', '5', '4', '3', '2']);
    expect(after.next).toBe('2');
  });

  it('takes the fresh state of a job that was loaded before', () => {
    const signed = { ...job(4), earned: { nanoton: '9', kind: 'signed' as const } };
    const after = merged({ items: [job(4), job(3)], next: null }, { items: [signed], next: '4' });
    expect(after.items[0]?.earned.kind).toBe('signed');
    expect(keys(after.items)).toEqual(['4', '3']);
  });

  it('lets go of what no longer meets: a list with a hole lies', () => {
    const after = merged({ items: [job(2), job(1)], next: null }, { items: [job(90), job(89)], next: '89' });
    expect(keys(after.items)).toEqual(['90', '89']);
    expect(after.next).toBe('89');
  });

  it('pages from the newest on', async () => {
    const { fake, store } = await opened();
    const stop = store.jobs.watch();
    await vi.advanceTimersByTimeAsync(0);
    expect(store.jobs.jobs).toHaveLength(PAGE_SIZE);
    await store.jobs.loadMore();
    await store.jobs.loadMore();
    expect(store.jobs.jobs).toHaveLength(130);
    expect(store.jobs.more).toBe(false);
    expect(new Set(keys(store.jobs.jobs)).size).toBe(130);
    await store.jobs.loadMore();
    expect(fake.queries).toHaveLength(3);
    stop();
    store.close();
  });

  it('asks once for many changes, and not at all when nobody looks', async () => {
    const { fake, store } = await opened();
    fake.say({ event: 'jobs_changed' });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(fake.queries).toHaveLength(0);
    const stop = store.jobs.watch();
    await vi.advanceTimersByTimeAsync(0);
    for (let i = 0; i < 100; i += 1) fake.say({ event: 'jobs_changed' });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(fake.queries).toHaveLength(2);
    stop();
    store.close();
  });

  it('asks for what the filter says', async () => {
    const { fake, store } = await opened();
    await store.jobs.choose({ result: 'not_answered', day: 'today' });
    expect(fake.queries.at(-1)).toEqual({ before: null, limit: PAGE_SIZE, answered: false, since: String(Date.UTC(2026, 4, 21)) });
    await store.jobs.choose({ result: 'answered', day: 'all' });
    expect(fake.queries.at(-1)).toMatchObject({ answered: true, since: null });
    store.close();
  });

  it('does not take the answer to an older question', async () => {
    const { fake, store } = await opened();
    const slow = store.jobs.choose({ result: 'all', day: 'all' });
    const quick = store.jobs.choose({ result: 'not_answered', day: 'all' });
    await Promise.all([slow, quick]);
    expect(fake.queries).toHaveLength(2);
    expect(store.jobs.jobs?.every(({ result }) => result.result === 'failed' || result.result === 'refused')).toBe(true);
    store.close();
  });

  it('says why it can not be read, and forgets it once it can', async () => {
    const { fake, store } = await opened('ledger');
    await store.jobs.refresh();
    expect(store.jobs.trouble?.code).toBe('ledger');
    fake.error = null;
    await store.jobs.refresh();
    expect(store.jobs.trouble).toBeNull();
    store.close();
  });
});
