import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Answer } from '../ipc/client';
import type { PageQuery } from '../ipc/view';
import { type Keyed, merged, PAGE_SIZE, PagedList, type Part } from './list.svelte';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const keyed = (...keys: number[]): Keyed[] => keys.map((key) => ({ key: String(key) }));

function counted(length: number) {
  const items = keyed(...Array.from({ length }, (_, i) => length - i));
  const asked: PageQuery[] = [];
  const held = { error: false };
  const list = new PagedList<Keyed>((query): Promise<Answer<Part<Keyed>>> => {
    asked.push(query);
    if (held.error) return Promise.resolve({ status: 'error', error: { code: 'ledger', message: 'x' } });
    const from = query.before ? items.findIndex(({ key }) => key === query.before) + 1 : 0;
    const part = items.slice(from, from + query.limit);
    return Promise.resolve({ status: 'ok', data: { items: part, next: from + query.limit < items.length ? (part.at(-1)?.key ?? null) : null } });
  });
  return { list, asked, items, held };
}

describe('a list in pages', () => {
  it('begins with the newest and goes on to the last', async () => {
    const { list, asked } = counted(PAGE_SIZE * 2 + 1);
    expect(list.items).toBeNull();
    await list.refresh();
    await list.loadMore();
    await list.loadMore();
    await list.loadMore();
    expect(list.items).toHaveLength(PAGE_SIZE * 2 + 1);
    expect(list.more).toBe(false);
    expect(asked).toHaveLength(3);
  });

  it('keeps what was loaded when something new comes, and takes the fresh state of the rest', async () => {
    const { list, items } = counted(PAGE_SIZE + 5);
    await list.refresh();
    await list.loadMore();
    items.unshift({ key: '999' });
    await list.refresh();
    expect(list.items?.[0]?.key).toBe('999');
    expect(list.items).toHaveLength(PAGE_SIZE + 6);
    expect(new Set(list.items?.map(({ key }) => key)).size).toBe(PAGE_SIZE + 6);
  });

  it('lets go of what no longer meets: a list with a hole lies', () => {
    const after = merged({ items: keyed(2, 1), next: null }, { items: keyed(90, 89), next: '89' });
    expect(after).toEqual({ items: keyed(90, 89), next: '89' });
    expect(merged({ items: keyed(3, 2, 1), next: null }, { items: keyed(4, 3), next: '3' })).toEqual({ items: keyed(4, 3, 2, 1), next: null });
    expect(merged({ items: keyed(3), next: '3' }, { items: [], next: null })).toEqual({ items: [], next: null });
  });

  it('asks once for many changes, and not at all when nobody looks', async () => {
    const { list, asked } = counted(3);
    list.stale();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(asked).toHaveLength(0);
    const stop = list.watch();
    await vi.advanceTimersByTimeAsync(0);
    for (let i = 0; i < 100; i += 1) list.stale();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(asked).toHaveLength(2);
    list.stale();
    stop();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(asked).toHaveLength(2);
  });

  it('keeps old items beside what went wrong, and forgets that once it went well', async () => {
    const { list, held } = counted(3);
    await list.refresh();
    held.error = true;
    await list.refresh();
    expect(list.trouble?.code).toBe('ledger');
    expect(list.items).toHaveLength(3);
    held.error = false;
    await list.refresh();
    expect(list.trouble).toBeNull();
  });
});
