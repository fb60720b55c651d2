// A list that the app gives page by page, from the newest on, and that is asked for again when the app says that it changed.
import type { Answer } from '../ipc/client';
import type { ApiError, PageQuery } from '../ipc/view';

export const PAGE_SIZE = 50;
const MOST = 200;
/** However often something changes, the list is asked for at most this often. */
const AGAIN_MS = 500;

export interface Keyed {
  key: string;
}

export interface Part<T> {
  items: readonly T[];
  next: string | null;
}

/** Puts a fresh part in front of what was loaded. Where they do not meet, what was loaded is let go: a list with a hole lies. */
export function merged<T extends Keyed>(loaded: Part<T>, fresh: Part<T>): Part<T> {
  const last = fresh.items.at(-1);
  const meets = last ? loaded.items.findIndex((item) => item.key === last.key) : -1;
  if (fresh.next === null || meets < 0) return fresh;
  const older = loaded.items.slice(meets + 1);
  return { items: [...fresh.items, ...older], next: older.length ? loaded.next : fresh.next };
}

export class PagedList<T extends Keyed> {
  #part = $state.raw<Part<T> | null>(null);
  #trouble = $state.raw<ApiError | null>(null);
  #busy = $state(false);

  #ask: (query: PageQuery) => Promise<Answer<Part<T>>>;
  #watched = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #round = 0;

  constructor(ask: (query: PageQuery) => Promise<Answer<Part<T>>>) {
    this.#ask = ask;
  }

  /** `null`: not read yet. */
  get items() {
    return this.#part?.items ?? null;
  }
  get more() {
    return (this.#part?.next ?? null) !== null;
  }
  get trouble() {
    return this.#trouble;
  }
  get busy() {
    return this.#busy;
  }

  /** Keeps the list current until the returned function is called. */
  watch(): () => void {
    this.#watched = true;
    void this.refresh();
    return () => {
      this.#watched = false;
      if (this.#timer) clearTimeout(this.#timer);
      this.#timer = null;
    };
  }

  /** Something changed: asks again soon, once for many changes. */
  stale(): void {
    if (!this.#watched || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.refresh();
    }, AGAIN_MS);
  }

  /** What is asked for is something else from now on: what was loaded is let go, and answers to older questions are not wanted. */
  async anew(): Promise<void> {
    this.#part = null;
    await this.refresh();
  }

  async refresh(): Promise<void> {
    const round = ++this.#round;
    const loaded = this.#part ?? { items: [], next: null };
    const fresh = this.#accept(round, await this.#ask({ before: null, limit: Math.min(MOST, Math.max(PAGE_SIZE, loaded.items.length)) }));
    if (fresh) this.#part = merged(loaded, fresh);
  }

  async loadMore(): Promise<void> {
    const before = this.#part?.next ?? null;
    if (before === null || this.#busy) return;
    const round = ++this.#round;
    this.#busy = true;
    const older = this.#accept(round, await this.#ask({ before, limit: PAGE_SIZE }));
    this.#busy = false;
    if (older) this.#part = { items: [...(this.#part?.items ?? []), ...older.items], next: older.next };
  }

  #accept(round: number, answer: Answer<Part<T>>): Part<T> | null {
    if (round !== this.#round) return null;
    this.#trouble = answer.status === 'error' ? answer.error : null;
    return answer.status === 'ok' ? answer.data : null;
  }
}
