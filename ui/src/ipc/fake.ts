// An app that is not there: for tests and for looking at the window while designing it. Only a build of mode `fake` contains it,
// and a test looks for this word in the others.
import { fakeCards, fakeHome, fakeJobs, fakeRunning, type Scene, SCENES } from './fake-scenes';
import { FakeMoney } from './fake-money';
import { FakeTrust } from './fake-trust';
import type { Answer, Transport } from './client';
import type { ApiError, AppEvent, Card, Home, Job, JobPage, JobQuery, RunningJob, Wish } from './view';

export const MARKER = 'chrysalis-fake-transport';

export class Fake implements Transport {
  readonly marker = MARKER;
  home_: Home;
  cards_: Card[];
  running_: RunningJob[];
  jobs_: Job[];
  /** While set, every call fails with it. */
  error: ApiError | null = null;
  /** What was asked, for tests. */
  readonly wishes: Wish[] = [];
  quits = 0;
  readonly queries: JobQuery[] = [];
  readonly money: FakeMoney;
  readonly trusted: FakeTrust;
  #listeners = new Set<(event: AppEvent) => void>();

  constructor(scene: Scene = 'practice', now = Date.now()) {
    this.home_ = fakeHome(scene, now);
    this.cards_ = fakeCards(scene);
    this.running_ = fakeRunning(scene, now);
    this.jobs_ = fakeJobs(scene, now);
    this.money = new FakeMoney(scene, now, () => this.error);
    this.trusted = new FakeTrust(scene, now, () => this.error);
    if (scene === 'gone') this.error = { code: 'app_gone', message: 'the other end of the channel is closed' };
    if (scene === 'ledger') this.error = { code: 'ledger', message: 'database disk image is malformed' };
  }

  say(event: AppEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  get wallet() {
    return this.money.wallet;
  }
  get earnings() {
    return this.money.earnings;
  }
  get trust() {
    return this.trusted.calls;
  }
  home = () => this.#answer(this.home_);
  cards = () => this.#answer(this.cards_);

  jobs(query: JobQuery): Promise<Answer<JobPage>> {
    this.queries.push(query);
    const fitting = this.jobs_.filter((job) => {
      const well = job.result.result === 'done' || job.result.result === 'stopped';
      return (query.answered ?? well) === well && (!query.since || (job.finished ?? 0) >= Number(query.since));
    });
    const from = query.before ? fitting.findIndex((job) => job.key === query.before) + 1 : 0;
    const jobs = fitting.slice(from, from + query.limit);
    const more = from + query.limit < fitting.length;
    return this.#answer({ running: this.running_, jobs, next: more ? (jobs.at(-1)?.key ?? null) : null });
  }

  quit(): Promise<Answer<null>> {
    this.quits += 1;
    return this.#answer(null);
  }

  /** Like the app: what is wanted is so at once in `wish`, and a moment later in `status`. */
  async setWish(wish: Wish): Promise<Answer<null>> {
    const answer = await this.#answer(null);
    if (answer.status === 'error') return answer;
    this.wishes.push(wish);
    this.home_ = { ...this.home_, wish: wish as Home['wish'] };
    return answer;
  }

  listen(on: (event: AppEvent) => void): Promise<() => void> {
    this.#listeners.add(on);
    return Promise.resolve(() => void this.#listeners.delete(on));
  }

  /** Makes the wish the fact, as the app does in its time. */
  obey(): void {
    const wish = this.home_.wish;
    const status: Home['status'] =
      wish.wish === 'work' ? { state: 'waiting', last_job: null } : { state: 'paused', until: wish.wish === 'pause' ? (wish.until ?? null) : null, freed_in_ms: 1800 };
    this.home_ = { ...this.home_, status };
    this.say({ event: 'home', data: this.home_ });
  }

  #answer<T>(data: T): Promise<Answer<T>> {
    return Promise.resolve(this.error ? { status: 'error', error: this.error } : { status: 'ok', data });
  }
}

/** `?scene=paused`, and `&live` for a line that moves and wishes that come true. */
export function fakeFromAddress(search: string): Fake {
  const params = new URLSearchParams(search);
  const scene = SCENES.find((name) => name === params.get('scene')) ?? 'practice';
  const fake = new Fake(scene);
  if (params.has('live')) {
    setInterval(() => {
      fake.cards_ = fake.cards_.map((card) => {
        const next = Math.max(0, Math.min(100, (card.load_percent ?? 50) + (Math.random() - 0.5) * 20));
        return card.ours ? { ...card, load_percent: next, line: [...card.line.slice(-119), next] } : card;
      });
      fake.say({ event: 'cards', data: fake.cards_ });
      fake.obey();
    }, 1500);
  }
  return fake;
}
