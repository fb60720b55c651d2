// For how long the owner may want the card back.
import { nextMorning } from '../format/time';
import type { Wish } from '../ipc/view';
import { m } from '../paraglide/messages.js';

const MINUTE = 60_000;

export interface PauseChoice {
  label: string;
  /** Made when it is chosen, so that 15 minutes count from then. */
  wish: () => Wish;
}

const pause = (until: number | null): Wish => ({ wish: 'pause', until });

export function pauseChoices(now: number): PauseChoice[] {
  const morning = nextMorning(now);
  return [
    { label: m.for_15_minutes(), wish: () => pause(Date.now() + 15 * MINUTE) },
    { label: m.for_1_hour(), wish: () => pause(Date.now() + 60 * MINUTE) },
    { label: morning.tomorrow ? m.until_tomorrow_8() : m.until_8(), wish: () => pause(nextMorning(Date.now()).at) },
    { label: m.until_i_say(), wish: () => pause(null) },
  ];
}
