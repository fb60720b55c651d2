// The list of jobs: pages from the newest on, asked again when the app says that something changed.
import { midnight } from '../format/time';
import type { Answer, Transport } from '../ipc/client';
import type { ApiError, Job, JobPage, RunningJob } from '../ipc/view';

export type ResultFilter = 'all' | 'answered' | 'not_answered';
export type DayFilter = 'all' | 'today';
export interface Filter {
  result: ResultFilter;
  day: DayFilter;
}

export const PAGE_SIZE = 50;
const MOST = 200;
/** Jobs can end many times a second; the list is asked for at most this often. */
const AGAIN_MS = 500;

/** Puts a fresh page in front of what was loaded. Where they do not meet, what was loaded is let go: a list with a hole lies. */
export function merged(loaded: readonly Job[], next: string | null, fresh: JobPage): { jobs: readonly Job[]; next: string | null } {
  const last = fresh.jobs.at(-1);
  const freshNext = fresh.next ?? null;
  const meets = last ? loaded.findIndex((job) => job.key === last.key) : -1;
  if (freshNext === null || meets < 0) return { jobs: fresh.jobs, next: freshNext };
  const older = loaded.slice(meets + 1);
  return { jobs: [...fresh.jobs, ...older], next: older.length ? next : freshNext };
}

export class JobList {
  #filter = $state.raw<Filter>({ result: 'all', day: 'all' });
  #jobs = $state.raw<readonly Job[] | null>(null);
  #running = $state.raw<readonly RunningJob[]>([]);
  #next = $state.raw<string | null>(null);
  #trouble = $state.raw<ApiError | null>(null);
  #busy = $state(false);

  #transport: Transport;
  #now: () => number;
  #watched = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** Answers to questions of an older filter are not wanted any more. */
  #round = 0;

  constructor(transport: Transport, now: () => number) {
    this.#transport = transport;
    this.#now = now;
  }

  get filter() {
    return this.#filter;
  }
  /** `null` until the first answer. */
  get jobs() {
    return this.#jobs;
  }
  get running() {
    return this.#running;
  }
  get more() {
    return this.#next !== null;
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

  async choose(filter: Filter): Promise<void> {
    this.#filter = filter;
    this.#jobs = null;
    this.#next = null;
    await this.refresh();
  }

  async refresh(): Promise<void> {
    const round = ++this.#round;
    const limit = Math.min(MOST, Math.max(PAGE_SIZE, this.#jobs?.length ?? 0));
    const page = this.#accept(round, await this.#ask(null, limit));
    if (!page) return;
    const { jobs, next } = merged(this.#jobs ?? [], this.#next, page);
    this.#jobs = jobs;
    this.#next = next;
    this.#running = page.running;
  }

  async loadMore(): Promise<void> {
    if (this.#next === null || this.#busy) return;
    const round = ++this.#round;
    this.#busy = true;
    const page = this.#accept(round, await this.#ask(this.#next, PAGE_SIZE));
    this.#busy = false;
    if (!page) return;
    this.#jobs = [...(this.#jobs ?? []), ...page.jobs];
    this.#next = page.next ?? null;
    this.#running = page.running;
  }

  #ask(before: string | null, limit: number): Promise<Answer<JobPage>> {
    const { result, day } = this.#filter;
    return this.#transport.jobs({
      before,
      limit,
      answered: result === 'all' ? null : result === 'answered',
      since: day === 'today' ? String(midnight(this.#now())) : null,
    });
  }

  #accept(round: number, answer: Answer<JobPage>): JobPage | null {
    if (round !== this.#round) return null;
    if (answer.status === 'error') {
      this.#trouble = answer.error;
      return null;
    }
    this.#trouble = null;
    return answer.data;
  }
}
