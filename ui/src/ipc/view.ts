// The types that cross the boundary, read off the generated calls, so that they hold whichever form the generator gives them
// (one type for both ways, or one for each).
import type { commands, events } from './bindings';

type Calls = typeof commands;
type Data<C extends keyof Calls> = Extract<Awaited<ReturnType<Calls[C]>>, { status: 'ok' }>['data'];

export type ApiError = Extract<Awaited<ReturnType<Calls['home']>>, { status: 'error' }>['error'];
export type ErrorCode = ApiError['code'];

export type Home = Data<'home'>;
export type Status = Home['status'];
export type Network = Home['network'];
export type Sums = NonNullable<Home['today']>;
export type Money = Sums['counted'];
export type Kind = Money['kind'];

export type Card = Data<'cards'>[number];

export type JobPage = Data<'jobs'>;
export type Job = JobPage['jobs'][number];
export type RunningJob = JobPage['running'][number];
export type JobResult = Job['result'];
export type JobQuery = Parameters<Calls['jobs']>[0];

export type Wish = Parameters<Calls['setWish']>[0];

export type AppEvent = Parameters<Parameters<(typeof events.event)['listen']>[0]>[0]['payload'];
export type Page = Extract<AppEvent, { event: 'show' }>['data']['page'];

export type Wallet = Data<'wallet'>;
export type WalletState = Wallet['state'];
export type ChainKind = Wallet['chain'];
export type AddressForms = NonNullable<Wallet['address']>;
export type Keychain = NonNullable<Wallet['keychain']>;
export type KeychainTrouble = NonNullable<Keychain['trouble']>;
export type KeyPlace = NonNullable<Wallet['key_place']>;
export type Flight = NonNullable<Wallet['in_flight']>;
export type Landed = NonNullable<Wallet['landed']>;
export type FlightOutcome = Landed['outcome'];
export type WalletHistory = Data<'walletHistory'>;
export type WalletEntry = WalletHistory['entries'][number];
export type MoneyReason = WalletEntry['reason'];
export type PageQuery = Parameters<Calls['walletHistory']>[0];
export type Destination = Data<'checkDestination'>;
export type Finding = Destination['findings'][number];
export type SendOrder = Parameters<Calls['prepareSend']>[0];
export type Prepared = Data<'prepareSend'>;
export type Draft = Extract<Prepared, { prepared: 'ready' }>['draft'];
export type Refusal = Extract<Prepared, { prepared: 'no' }>['refusal'];
export type Sent = Data<'confirmSend'>;
export type Done = Data<'createWallet'>;
export type Protect = Parameters<Calls['createWallet']>[0];
export type Revealed = Data<'revealWords'>;
export type ReadWords = Data<'readWords'>;
export type WalletCandidate = Extract<ReadWords, { read: 'candidates' }>['candidates'][number];
export type PayoutSet = Data<'setPayoutAddress'>;
export type SetAside = Data<'setWalletAside'>;
export type WalletRules = Parameters<Calls['setWalletRules']>[0];
export type ExplorerTarget = Parameters<Calls['showOnExplorer']>[0];

export type Earnings = Data<'earnings'>;
export type Pipeline = Earnings['pipeline'];
export type PayoutWait = NonNullable<Earnings['waits']>;
export type Range = Parameters<Calls['earnedChart']>[0];
export type EarnedChart = Data<'earnedChart'>;
export type Bar = EarnedChart['bars'][number];
export type BarLength = EarnedChart['length'];
export type PayoutPage = Data<'payouts'>;
export type Payout = PayoutPage['payouts'][number];
export type Verification = Data<'verifyPayout'>;
export type FactCheck = Verification['checks'][number];
export type Fact = FactCheck['fact'];
export type TakeForecast = Data<'forecastTake'>;
export type RateOrder = Parameters<Calls['setRate']>[0];
export type PowerOrder = Parameters<Calls['setPowerPrice']>[0];
export type ExportOrder = Parameters<Calls['exportPayouts']>[0];
export type ExportKind = ExportOrder['kind'];
export type Exported = Data<'exportPayouts'>;
export type Qr = Data<'qr'>;

export type Trust = Data<'trust'>;
export type RuleChange = Parameters<Calls['changeRule']>[0];
export type TrustPart = Trust['parts'][number];
export type TrustSource = TrustPart['source'];
export type NetworkVerdict = NonNullable<Trust['networks']>[number];
export type AskedNetwork = NetworkVerdict['network'];
export type Missing = NonNullable<NetworkVerdict['missing']>;
export type ProxyStanding = Trust['proxies'][number];
export type KeptRefusal = Trust['refusals'][number];
export type Grade = NonNullable<Trust['proved']>['grade'];
export type Walls = NonNullable<Trust['walls']>;
export type Wall = Walls['walls'][number];
export type WallKind = Wall['kind'];
export type TrustHost = Trust['hosts'][number];
