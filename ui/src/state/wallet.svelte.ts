// The page Wallet: a slice that the app replaces, and the history. Words and passwords go through to the app and are kept nowhere here.
import type { Answer, Transport, WalletCalls } from '../ipc/client';
import type { ApiError, Refusal, Wallet, WalletEntry } from '../ipc/view';
import { PagedList } from './list.svelte';

/** What became of a call: nothing against it, a refusal, or a call that did not arrive. */
export type Outcome = { refusal: Refusal } | { error: ApiError } | null;

export class WalletStore {
  readonly history: PagedList<WalletEntry>;
  /** What the page may ask; answers of its own, kept by whoever asks. */
  readonly calls: WalletCalls;
  #slice = $state.raw<Wallet | null>(null);
  #trouble = $state.raw<ApiError | null>(null);

  constructor(transport: Transport) {
    this.calls = transport.wallet;
    this.history = new PagedList(async (query) => {
      const answer = await transport.wallet.history(query);
      return answer.status === 'error' ? answer : { status: 'ok', data: { items: answer.data.entries, next: answer.data.next ?? null } };
    });
  }

  /** `null`: not heard yet. */
  get slice() {
    return this.#slice;
  }
  get trouble() {
    return this.#trouble;
  }

  take(slice: Wallet): void {
    this.#slice = slice;
    this.#trouble = null;
  }

  async refresh(): Promise<void> {
    const answer = await this.calls.page();
    if (answer.status === 'ok') this.take(answer.data);
    else this.#trouble = answer.error;
  }

  /** Keeps the page current until the returned function is called. */
  watch(): () => void {
    void this.refresh();
    return this.history.watch();
  }

  /** Waits for a call and looks at the wallet again. */
  async act(call: Promise<Answer<{ done: 'yes' } | { done: 'no'; refusal: Refusal }>>): Promise<Outcome> {
    const answer = await call;
    await this.refresh();
    if (answer.status === 'error') return { error: answer.error };
    return answer.data.done === 'yes' ? null : { refusal: answer.data.refusal };
  }
}
