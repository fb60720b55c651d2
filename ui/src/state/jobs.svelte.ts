// The list of jobs and those that run: a list like the others, with a filter.
import { midnight } from '../format/time';
import type { Answer, Transport } from '../ipc/client';
import type { Job, PageQuery, RunningJob } from '../ipc/view';
import { PagedList, type Part } from './list.svelte';

export type ResultFilter = 'all' | 'answered' | 'not_answered';
export type DayFilter = 'all' | 'today';
export interface Filter {
  result: ResultFilter;
  day: DayFilter;
}

export class JobList {
  #filter = $state.raw<Filter>({ result: 'all', day: 'all' });
  #running = $state.raw<readonly RunningJob[]>([]);

  #transport: Transport;
  #now: () => number;
  #list: PagedList<Job>;

  constructor(transport: Transport, now: () => number) {
    this.#transport = transport;
    this.#now = now;
    this.#list = new PagedList<Job>((query) => this.#ask(query));
  }

  get filter() {
    return this.#filter;
  }
  /** `null` until the first answer. */
  get jobs() {
    return this.#list.items;
  }
  get running() {
    return this.#running;
  }
  get more() {
    return this.#list.more;
  }
  get trouble() {
    return this.#list.trouble;
  }
  get busy() {
    return this.#list.busy;
  }

  /** Keeps the list current until the returned function is called. */
  watch(): () => void {
    return this.#list.watch();
  }

  /** Something changed: asks again soon, once for many changes. */
  stale(): void {
    this.#list.stale();
  }

  async choose(filter: Filter): Promise<void> {
    this.#filter = filter;
    await this.#list.anew();
  }

  refresh(): Promise<void> {
    return this.#list.refresh();
  }

  loadMore(): Promise<void> {
    return this.#list.loadMore();
  }

  async #ask({ before, limit }: PageQuery): Promise<Answer<Part<Job>>> {
    const { result, day } = this.#filter;
    const answer = await this.#transport.jobs({
      before,
      limit,
      answered: result === 'all' ? null : result === 'answered',
      since: day === 'today' ? String(midnight(this.#now())) : null,
    });
    if (answer.status === 'error') return answer;
    // What runs is the same under every filter.
    this.#running = answer.data.running;
    return { status: 'ok', data: { items: answer.data.jobs, next: answer.data.next ?? null } };
  }
}
