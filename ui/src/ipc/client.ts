// The one way from the page to the app. Everything behind `Transport` can be exchanged: by the generated calls, or by a fake.
import { commands, events } from './bindings';
import type { ApiError, AppEvent, Card, Home, JobPage, JobQuery, Wish } from './view';

export type Answer<T> = { status: 'ok'; data: T } | { status: 'error'; error: ApiError };

export interface Transport {
  home(): Promise<Answer<Home>>;
  cards(): Promise<Answer<Card[]>>;
  jobs(query: JobQuery): Promise<Answer<JobPage>>;
  setWish(wish: Wish): Promise<Answer<null>>;
  quit(): Promise<Answer<null>>;
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
