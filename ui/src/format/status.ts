// One sentence about what happens now, with its reason, and what the owner can do about it.
import type { ApiError, Card, Home, Wish } from '../ipc/view';
import { m } from '../paraglide/messages.js';
import { count } from './number';
import { clock, duration, moment } from './time';

/** How grave it is, the same as at the icon in the tray: a test on either side keeps to `tests/glances.json`. */
export type Dot = 'working' | 'waiting' | 'paused' | 'attention' | 'problem';

/** What the status panel offers. `pausing` and `starting` are wishes that are not yet facts: shown, but not to press. */
export type Offer = 'pause' | 'finish' | 'start' | 'pause_now' | 'keep_working' | 'try_again' | 'pausing' | 'starting';

export interface Sentence {
  /** One word for the side bar. */
  word: string;
  /** The word with its mode, above the sentence. */
  label: string;
  dot: Dot;
  title: string;
  /** More about it, a sentence each. */
  details: string[];
  offers: Offer[];
  /** Whether the owner wants something that is not yet so. */
  pending: boolean;
}

export interface Known {
  home: Home | null;
  cards: readonly Card[] | null;
  /** Why the last call failed. */
  trouble: ApiError | null;
  /** A wish that is under way to the app. */
  asked: Wish | null;
  now: number;
}

/** One sentence, whoever wrote the reason. */
export const reason = (why: string) => m.reason({ why: why.replace(/[.\s]+$/, '') });

function freedIn(ms: number | null | undefined): string | null {
  const time = duration(ms);
  if (!time) return null;
  return (ms ?? 0) < 100 ? m.freed_at_once() : m.freed_in({ time });
}

export function plainError(error: ApiError): string {
  switch (error.code) {
    case 'app_gone':
      return m.error_app_gone();
    case 'ledger':
      return m.error_ledger();
    case 'request':
      return m.error_request();
    case 'not_running':
      return m.error_not_running();
    case 'refused':
      return m.error_refused({ why: error.message });
  }
}

/** "the RTX 4090", or "the processor". */
export function place(home: Home, cards: readonly Card[] | null): string {
  const ours = cards?.find((card) => card.ours && card.kind !== 'processor');
  if (home.backend === 'cpu') return m.the_processor();
  const name = ours?.name ?? home.adapter;
  return name ? m.the_card({ name }) : m.this_pc();
}

export function questionCount(home: Home | null): number | null {
  const status = home?.status;
  return status?.state === 'working' || status?.state === 'finishing' ? (status.questions ?? 0) : null;
}

export function sentence({ home, cards, trouble, asked, now }: Known): Sentence {
  if (trouble?.code === 'app_gone' || (trouble && !home)) return gone(trouble, home);
  if (!home) {
    return {
      word: m.word_asking(), label: m.word_asking(), dot: 'waiting', title: m.asking(), details: [], offers: [], pending: false,
    };
  }
  const fact = factOf(home, cards, now);
  return withMode(withWish(fact, home, asked), home);
}

function gone(trouble: ApiError, home: Home | null): Sentence {
  const since = clock(home?.at, true);
  return {
    word: m.word_gone(),
    label: m.word_gone(),
    dot: 'problem',
    title: plainError(trouble),
    details: [
      trouble.code === 'app_gone' ? m.error_app_gone_help() : trouble.message,
      ...(since ? [m.values_from({ time: since })] : []),
    ],
    offers: [],
    pending: false,
  };
}

type Fact = Omit<Sentence, 'label' | 'pending'>;

function factOf(home: Home, cards: readonly Card[] | null, now: number): Fact {
  const { status, network } = home;
  const practice = network.kind === 'practice';
  const where = place(home, cards);
  switch (status.state) {
    case 'paused': {
      const until = moment(status.until, now);
      const freed = freedIn(status.freed_in_ms);
      // Nothing was ended yet: this is how the app begins.
      const never = !until && !freed;
      return {
        word: m.word_paused(),
        dot: 'paused',
        title: until ? m.paused_until({ time: until }) : never ? m.not_started() : m.paused(),
        details: [...(freed ? [freed] : []), until ? m.goes_on_by_itself() : never ? m.begins_when_you_say() : m.goes_on_when_you_say()],
        offers: ['start'],
      };
    }
    case 'loading':
      return {
        word: m.word_loading(), dot: 'waiting', title: m.loading({ model: network.model }), details: [m.loading_more()], offers: ['pause'],
      };
    case 'connecting':
      return {
        word: m.word_connecting(),
        dot: 'waiting',
        title: practice ? m.connecting_practice() : m.connecting(),
        details: [practice ? m.connecting_practice_more() : m.connecting_more()],
        offers: ['pause'],
      };
    case 'waiting': {
      const last = moment(status.last_job, now);
      return {
        word: m.word_waiting(),
        dot: 'waiting',
        title: m.waiting(),
        details: [last ? m.last_job({ time: last }) : m.no_job_yet(), practice ? m.waiting_practice_more() : m.waiting_more()],
        offers: ['pause', 'finish'],
      };
    }
    case 'working': {
      const n = status.questions ?? 0;
      return {
        word: m.word_working(),
        dot: 'working',
        title: m.working({ count: n, text: count(n) ?? '0', where }),
        details: [m.working_more()],
        offers: ['pause', 'finish'],
      };
    }
    case 'finishing': {
      const n = status.questions ?? 0;
      return {
        word: m.word_finishing(),
        dot: 'working',
        title: n > 0 ? m.finishing({ count: n, text: count(n) ?? '0' }) : m.finishing_payment(),
        details: [m.finishing_more()],
        offers: ['pause_now', 'keep_working'],
      };
    }
    case 'freeing':
      return { word: m.word_pausing(), dot: 'waiting', title: m.freeing({ where }), details: [m.freeing_more()], offers: ['pausing'] };
    case 'restarting': {
      const at = (status.at ?? 0) > now ? clock(status.at, true) : null;
      return {
        word: m.word_restarting(),
        dot: 'attention',
        title: at ? m.restarting_at({ time: at }) : m.restarting(),
        details: [
          ...(status.why ? [reason(status.why)] : []),
          m.started_times({ count: status.starts ?? 0, text: count(status.starts) ?? '0' }),
        ],
        offers: ['pause'],
      };
    }
    case 'ledger_fails':
      return {
        word: m.word_on_hold(),
        dot: 'attention',
        title: m.ledger_fails(),
        details: [reason(status.why), m.ledger_fails_more()],
        offers: ['pause'],
      };
    case 'failed':
      return { word: m.word_problem(), dot: 'problem', title: m.failed(), details: [reason(status.why)], offers: ['try_again', 'pause'] };
  }
}

/** The wish is not the fact: what is wanted and not yet so is said, and its button can't be pressed again. */
function withWish(fact: Fact, home: Home, asked: Wish | null): Omit<Sentence, 'label'> {
  const wish = asked ?? home.wish;
  const state = home.status.state;
  const resting = state === 'paused';
  if (wish.wish === 'work' && resting) return { ...fact, word: m.word_starting(), offers: ['starting'], pending: true };
  if (wish.wish === 'pause' && !resting && state !== 'failed') {
    return { ...fact, word: m.word_pausing(), offers: ['pausing'], pending: true };
  }
  if (wish.wish === 'finish_and_pause' && !resting && state !== 'finishing' && state !== 'failed') {
    return { ...fact, word: m.word_finishing(), offers: ['pause_now', 'keep_working'], pending: true };
  }
  return { ...fact, pending: false };
}

function withMode(fact: Omit<Sentence, 'label'>, home: Home): Sentence {
  const { network } = home;
  if (!network.pays_nothing) return { ...fact, label: fact.word };
  const label = network.kind === 'practice' ? m.label_practice({ word: fact.word }) : m.label_test({ word: fact.word });
  // The amber diamond of practice stands for work that pays nothing, not for rest or trouble.
  const dot = fact.dot === 'working' || fact.dot === 'waiting' ? 'attention' : fact.dot;
  return { ...fact, label, dot };
}

/** What starts work, in words that promise no money where there is none. */
export function startWords(home: Home | null): string {
  if (!home) return m.start_plain();
  if (home.network.kind === 'practice') return m.start_practice();
  return home.network.pays_nothing ? m.start_plain() : m.start_earning();
}
