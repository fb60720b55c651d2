// One snapshot of what the app said, replaced slice by slice. Pages read it; they ask for changes by its methods and never write.
import type { Transport } from '../ipc/client';
import type { ApiError, AppEvent, Card, Home, Page, Wish } from '../ipc/view';
import { EarningsStore } from './earnings.svelte';
import { JobList } from './jobs.svelte';
import { TrustStore } from './trust.svelte';
import { WalletStore } from './wallet.svelte';

/** If nothing was heard for so long, the page asks by itself: a lost event or a dead app must not go unnoticed. */
const SILENCE_MS = 30_000;
const TICK_MS = 1_000;

export class Store {
  readonly jobs: JobList;
  readonly wallet: WalletStore;
  readonly earnings: EarningsStore;
  readonly trust: TrustStore;
  #home = $state.raw<Home | null>(null);
  #cards = $state.raw<readonly Card[] | null>(null);
  #trouble = $state.raw<ApiError | null>(null);
  #asked = $state.raw<Wish | null>(null);
  #wishTrouble = $state.raw<ApiError | null>(null);
  #page = $state<Page>('home');
  #now = $state(Date.now());

  #transport: Transport;
  #heard = 0;
  #close: (() => void)[] = [];

  constructor(transport: Transport) {
    this.#transport = transport;
    this.jobs = new JobList(transport, () => this.#now);
    this.wallet = new WalletStore(transport);
    this.earnings = new EarningsStore(transport);
    this.trust = new TrustStore(transport);
  }

  get home() {
    return this.#home;
  }
  get cards() {
    return this.#cards;
  }
  /** Why the app could not be asked the last time. */
  get trouble() {
    return this.#trouble;
  }
  /** A wish on its way to the app. */
  get asked() {
    return this.#asked;
  }
  /** Why the last wish did not arrive. */
  get wishTrouble() {
    return this.#wishTrouble;
  }
  get page() {
    return this.#page;
  }
  /** The time, once a second. */
  get now() {
    return this.#now;
  }

  async open(): Promise<void> {
    const tick = setInterval(() => this.#tick(), TICK_MS);
    this.#close.push(() => clearInterval(tick));
    try {
      this.#close.push(await this.#transport.listen((event) => this.#hear(event)));
    } catch (error) {
      this.#trouble = { code: 'app_gone', message: String(error) };
    }
    await this.refresh();
  }

  close(): void {
    for (const close of this.#close.splice(0)) close();
  }

  async refresh(): Promise<void> {
    this.#heard = Date.now();
    const [home, cards] = await Promise.all([this.#transport.home(), this.#transport.cards()]);
    if (home.status === 'ok') this.#home = home.data;
    if (cards.status === 'ok') this.#cards = cards.data;
    this.#trouble = home.status === 'error' ? home.error : cards.status === 'error' ? cards.error : null;
  }

  /** Tells the app what the owner wants. What is so comes back by itself. */
  async wish(wish: Wish): Promise<void> {
    if (this.#asked) return;
    this.#asked = wish;
    this.#wishTrouble = null;
    const answer = await this.#transport.setWish(wish);
    if (answer.status === 'error') this.#wishTrouble = answer.error;
    await this.refresh();
    this.#asked = null;
  }

  /** Ends the app, and with it this page. */
  async quit(): Promise<void> {
    this.#wishTrouble = null;
    const answer = await this.#transport.quit();
    if (answer.status === 'error') this.#wishTrouble = answer.error;
  }

  show(page: Page): void {
    this.#page = page;
  }

  #tick(): void {
    this.#now = Date.now();
    if (this.#now - this.#heard >= SILENCE_MS) void this.refresh();
  }

  #hear(event: AppEvent): void {
    this.#heard = Date.now();
    switch (event.event) {
      case 'home':
        this.#home = event.data;
        this.#trouble = null;
        break;
      case 'cards':
        this.#cards = event.data;
        break;
      case 'jobs_changed':
        this.jobs.stale();
        break;
      case 'wallet':
        this.wallet.take(event.data);
        break;
      case 'wallet_history_changed':
        this.wallet.history.stale();
        break;
      case 'earnings':
        this.earnings.take(event.data);
        break;
      case 'payouts_changed':
        this.earnings.stale();
        break;
      case 'show':
        this.#page = event.data.page;
        break;
    }
  }
}
