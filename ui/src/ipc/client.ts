// The one way from the page to the app. Everything behind `Transport` can be exchanged: by the generated calls, or by a fake.
import { commands, events } from './bindings';
import type {
  ApiError, AppEvent, Card, Destination, Done, EarnedChart, Earnings, ExplorerTarget, Exported, ExportOrder, Home, JobPage, JobQuery, PageQuery,
  PayoutPage, PayoutSet, PowerOrder, Prepared, Protect, Qr, Range, RateOrder, ReadWords, Revealed, RuleChange, SendOrder, Sent, SetAside, TakeForecast, Trust, Verification, Wallet,
  WalletHistory, WalletRules, Wish,
} from './view';

export type Answer<T> = { status: 'ok'; data: T } | { status: 'error'; error: ApiError };

type Call<T> = Promise<Answer<T>>;

/** What the page Wallet can ask. */
export interface WalletCalls {
  page(): Call<Wallet>;
  history(query: PageQuery): Call<WalletHistory>;
  check(text: string): Call<Destination>;
  prepare(order: SendOrder): Call<Prepared>;
  confirm(draft: string, password: string | null): Call<Sent>;
  create(protect: Protect): Call<Done>;
  reveal(password: string | null): Call<Revealed>;
  quiz(answers: string[]): Call<Done>;
  read(text: string): Call<ReadWords>;
  save(draft: string, candidate: number, protect: Protect): Call<Done>;
  forget(): Call<Done>;
  payTo(text: string): Call<PayoutSet>;
  keepPayoutAddress(): Call<Done>;
  unlock(password: string | null): Call<Done>;
  lock(): Call<Done>;
  delete(address: string): Call<Done>;
  setAside(): Call<SetAside>;
  rules(rules: WalletRules): Call<Done>;
  dismissReminder(): Call<Done>;
  takeRestBack(): Call<Prepared>;
  show(target: ExplorerTarget): Call<Done>;
  qr(text: string): Call<Qr>;
}

/** What the page Earnings can ask. */
export interface EarningsCalls {
  page(): Call<Earnings>;
  chart(range: Range): Call<EarnedChart>;
  payouts(query: PageQuery): Call<PayoutPage>;
  verify(key: string): Call<Verification>;
  forecast(): Call<TakeForecast>;
  take(): Call<Sent>;
  threshold(nanoton: string | null): Call<Done>;
  rate(order: RateOrder): Call<Done>;
  power(order: PowerOrder): Call<Done>;
  export(order: ExportOrder): Call<Exported>;
}

/** What the page Trust can ask. */
export interface TrustCalls {
  page(): Call<Trust>;
  /** Looks at this PC anew. */
  check(): Call<Trust>;
  /** Has Windows ask the owner about its firewall's rule for the worker. */
  rule(change: RuleChange): Call<Trust>;
  /** The proof, as JSON. */
  proof(): Call<string>;
}

export interface Transport {
  home(): Promise<Answer<Home>>;
  cards(): Promise<Answer<Card[]>>;
  jobs(query: JobQuery): Promise<Answer<JobPage>>;
  setWish(wish: Wish): Promise<Answer<null>>;
  quit(): Promise<Answer<null>>;
  wallet: WalletCalls;
  earnings: EarningsCalls;
  trust: TrustCalls;
  /** Hands every event to `on` until the returned function is called. */
  listen(on: (event: AppEvent) => void): Promise<() => void>;
}

/** A call that did not come back at all means the same to the owner as an app that says it is gone. */
async function answered<T>(call: Promise<Answer<T>>): Promise<Answer<T>> {
  try {
    return await call;
  } catch (error) {
    return { status: 'error', error: { code: 'app_gone', message: String(error) } };
  }
}

const app: Transport = {
  home: () => answered(commands.home()),
  cards: () => answered(commands.cards()),
  jobs: (query) => answered(commands.jobs(query)),
  setWish: (wish) => answered(commands.setWish(wish)),
  quit: () => answered(commands.quit()),
  wallet: {
    page: () => answered(commands.wallet()),
    history: (query) => answered(commands.walletHistory(query)),
    check: (text) => answered(commands.checkDestination(text)),
    prepare: (order) => answered(commands.prepareSend(order)),
    confirm: (draft, password) => answered(commands.confirmSend(draft, password)),
    create: (protect) => answered(commands.createWallet(protect)),
    reveal: (password) => answered(commands.revealWords(password)),
    quiz: (answers) => answered(commands.answerQuiz(answers)),
    read: (text) => answered(commands.readWords(text)),
    save: (draft, candidate, protect) => answered(commands.saveWords(draft, candidate, protect)),
    forget: () => answered(commands.forgetWords()),
    payTo: (text) => answered(commands.setPayoutAddress(text)),
    keepPayoutAddress: () => answered(commands.keepPayoutAddress()),
    unlock: (password) => answered(commands.unlockWallet(password)),
    lock: () => answered(commands.lockWallet()),
    delete: (address) => answered(commands.deleteWallet(address)),
    setAside: () => answered(commands.setWalletAside()),
    rules: (rules) => answered(commands.setWalletRules(rules)),
    dismissReminder: () => answered(commands.dismissReminder()),
    takeRestBack: () => answered(commands.takeRestBack()),
    show: (target) => answered(commands.showOnExplorer(target)),
    qr: (text) => answered(commands.qr(text)),
  },
  earnings: {
    page: () => answered(commands.earnings()),
    chart: (range) => answered(commands.earnedChart(range)),
    payouts: (query) => answered(commands.payouts(query)),
    verify: (key) => answered(commands.verifyPayout(key)),
    forecast: () => answered(commands.forecastTake()),
    take: () => answered(commands.takeNow()),
    threshold: (nanoton) => answered(commands.setThreshold(nanoton)),
    rate: (order) => answered(commands.setRate(order)),
    power: (order) => answered(commands.setPowerPrice(order)),
    export: (order) => answered(commands.exportPayouts(order)),
  },
  trust: {
    page: () => answered(commands.trust()),
    check: () => answered(commands.checkTrust()),
    rule: (change) => answered(commands.changeRule(change)),
    proof: () => answered(commands.trustProof()),
  },
  listen: (on) => events.event.listen((event) => on(event.payload)),
};

/** The app; in a build of mode `fake` the stand-in, which no other build contains. */
export async function connect(): Promise<Transport> {
  if (import.meta.env.MODE === 'fake') {
    const { fakeFromAddress } = await import('./fake');
    return fakeFromAddress(location.search);
  }
  return app;
}
