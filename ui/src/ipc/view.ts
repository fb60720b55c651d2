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
