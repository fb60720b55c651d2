// The page Earnings: a slice that the app replaces, the chart of a length of time, the payouts and what was proved about them.
import { SvelteMap } from 'svelte/reactivity';
import type { EarningsCalls, Transport } from '../ipc/client';
import type { ApiError, EarnedChart, Earnings, Payout, Range, Verification } from '../ipc/view';
import type { ShownIn } from '../format/value';
import { PagedList } from './list.svelte';

/** The chart is asked for at least this often while it is looked at: its last bar grows. */
const CHART_MS = 30_000;

export class EarningsStore {
  readonly payouts: PagedList<Payout>;
  readonly calls: EarningsCalls;
  #slice = $state.raw<Earnings | null>(null);
  #trouble = $state.raw<ApiError | null>(null);
  #range = $state<Range>('month');
  /** What the owner would like to see amounts in. */
  shownIn = $state<ShownIn>('ton');
  #chart = $state.raw<EarnedChart | null>(null);
  #chartTrouble = $state.raw<ApiError | null>(null);
  readonly #proofs = new SvelteMap<string, Verification | ApiError | 'busy'>();
  #watched = false;

  constructor(transport: Transport) {
    this.calls = transport.earnings;
    this.payouts = new PagedList(async (query) => {
      const answer = await transport.earnings.payouts(query);
      return answer.status === 'error' ? answer : { status: 'ok', data: { items: answer.data.payouts, next: answer.data.next ?? null } };
    });
  }

  /** `null`: not heard yet. */
  get slice() {
    return this.#slice;
  }
  get trouble() {
    return this.#trouble;
  }
  get range() {
    return this.#range;
  }
  /** The chart of that range; `null` while it is being read. */
  get chart() {
    return this.#chart?.range === this.#range ? this.#chart : null;
  }
  get chartTrouble() {
    return this.#chartTrouble;
  }

  /** What is known about a payout's proof. */
  proof(key: string): Verification | ApiError | 'busy' | null {
    return this.#proofs.get(key) ?? null;
  }

  take(slice: Earnings): void {
    const before = this.#slice?.pipeline;
    this.#slice = slice;
    this.#trouble = null;
    // The chart says the same as the sums above it.
    if (this.#watched && before && JSON.stringify(before) !== JSON.stringify(slice.pipeline)) void this.refreshChart();
  }

  async refresh(): Promise<void> {
    const answer = await this.calls.page();
    if (answer.status === 'ok') this.take(answer.data);
    else this.#trouble = answer.error;
  }

  async choose(range: Range): Promise<void> {
    this.#range = range;
    await this.refreshChart();
  }

  async refreshChart(): Promise<void> {
    const range = this.#range;
    const answer = await this.calls.chart(range);
    if (range !== this.#range) return;
    this.#chartTrouble = answer.status === 'error' ? answer.error : null;
    if (answer.status === 'ok') this.#chart = answer.data;
  }

  async verify(key: string): Promise<void> {
    if (this.#proofs.get(key) === 'busy') return;
    this.#proved(key, 'busy');
    const answer = await this.calls.verify(key);
    this.#proved(key, answer.status === 'ok' ? answer.data : answer.error);
    this.payouts.stale();
  }

  #proved(key: string, proof: Verification | ApiError | 'busy'): void {
    this.#proofs.set(key, proof);
  }

  /** Payouts came or were proved. */
  stale(): void {
    this.payouts.stale();
    if (this.#watched) void this.refreshChart();
  }

  /** Keeps the page current until the returned function is called. */
  watch(): () => void {
    this.#watched = true;
    void this.refresh();
    void this.refreshChart();
    const stop = this.payouts.watch();
    const again = setInterval(() => void this.refreshChart(), CHART_MS);
    return () => {
      this.#watched = false;
      clearInterval(again);
      stop();
    };
  }
}
