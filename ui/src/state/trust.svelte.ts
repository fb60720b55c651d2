// The page Trust: a slice that is asked for again while somebody looks at it, and the look at this PC that takes seconds.
import type { Answer, Transport, TrustCalls } from '../ipc/client';
import type { ApiError, RuleChange, Trust } from '../ipc/view';

/** Proxies and the box say something new by themselves; so often it is asked for while the page is open. */
const AGAIN_MS = 5_000;

export class TrustStore {
  #slice = $state.raw<Trust | null>(null);
  #trouble = $state.raw<ApiError | null>(null);
  #checking = $state(false);
  #changing = $state(false);
  #ruleTrouble = $state.raw<ApiError | null>(null);
  #proof = $state.raw<string | null>(null);
  #calls: TrustCalls;

  constructor(transport: Transport) {
    this.#calls = transport.trust;
  }

  /** `null`: not heard yet. */
  get slice() {
    return this.#slice;
  }
  get trouble() {
    return this.#trouble;
  }
  /** This PC is being looked at. */
  get checking() {
    return this.#checking;
  }

  /** Windows is asking the owner about its firewall's rule. */
  get changing() {
    return this.#changing;
  }
  /** Why the rule was not changed, until that is tried again. */
  get ruleTrouble() {
    return this.#ruleTrouble;
  }

  /** The proof, as JSON; `null`: not heard yet. It is asked for ahead, because browsers copy only while a button is being pressed. */
  get proof() {
    return this.#proof;
  }

  async refresh(): Promise<void> {
    const before = this.#slice;
    this.#take(await this.#calls.page());
    if (this.#proof === null || before?.proved?.at !== this.#slice?.proved?.at) await this.#refreshProof();
  }

  async check(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    this.#take(await this.#calls.check());
    await this.#refreshProof();
    this.#checking = false;
  }

  /** Has Windows ask the owner, which lasts until they have answered. */
  async changeRule(change: RuleChange): Promise<void> {
    if (this.#changing) return;
    this.#changing = true;
    const answer = await this.#calls.rule(change);
    this.#ruleTrouble = answer.status === 'error' ? answer.error : null;
    if (answer.status === 'ok') this.#take(answer);
    this.#changing = false;
  }

  /** Keeps the page current until the returned function is called. This PC is looked at once, if it was not before. */
  watch(): () => void {
    void this.refresh().then(() => {
      if (this.#slice && this.#slice.checked_at === null) void this.check();
    });
    const again = setInterval(() => {
      // An older answer must not come over the one of a look that is under way.
      if (!this.#checking) void this.refresh();
    }, AGAIN_MS);
    return () => clearInterval(again);
  }

  async #refreshProof(): Promise<void> {
    const answer = await this.#calls.proof();
    if (answer.status === 'ok') this.#proof = answer.data;
  }

  #take(answer: Answer<Trust>): void {
    this.#trouble = answer.status === 'error' ? answer.error : null;
    if (answer.status === 'ok') this.#slice = answer.data;
  }
}
