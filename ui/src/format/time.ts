// Times of the wall clock of this PC, in 24 hours, and lengths of time.
import { m } from '../paraglide/messages.js';
import { reading } from './number';

const two = (value: number) => String(value).padStart(2, '0');
const known = (ms: number | null | undefined): ms is number => typeof ms === 'number' && Number.isFinite(ms);

const MONTHS = [
  m.month_1, m.month_2, m.month_3, m.month_4, m.month_5, m.month_6,
  m.month_7, m.month_8, m.month_9, m.month_10, m.month_11, m.month_12,
];

export function midnight(now: number, days = 0): number {
  const day = new Date(now);
  return new Date(day.getFullYear(), day.getMonth(), day.getDate() + days).getTime();
}

/** 21:51, or 21:51:38. */
export function clock(ms: number | null | undefined, seconds = false): string | null {
  if (!known(ms)) return null;
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}${seconds ? `:${two(at.getSeconds())}` : ''}`;
}

/** 21 May. */
export function date(ms: number): string {
  const at = new Date(ms);
  return `${at.getDate()} ${MONTHS[at.getMonth()]?.() ?? ''}`;
}

/** The heading of a day's jobs. */
/** A day as the app names it, 2026-11-27, in words: 27 November 2026. */
export function dayName(iso: string): string {
  const [year = '', month = '1', day = '1'] = iso.split('-');
  return `${date(new Date(Number(year), Number(month) - 1, Number(day)).getTime())} ${year}`;
}

export function finishedOn(ms: number | null, now: number): string {
  if (ms === null) return m.finished_unknown();
  if (ms >= midnight(now) && ms < midnight(now, 1)) return m.finished_today();
  if (ms >= midnight(now, -1) && ms < midnight(now)) return m.finished_yesterday();
  return m.finished_on({ day: date(ms) });
}

/** The clock alone for today, otherwise with the day: 22:00, tomorrow 08:00, 19 May 21:30. */
export function moment(ms: number | null | undefined, now: number, seconds = false): string | null {
  const time = clock(ms, seconds);
  if (!known(ms) || time === null) return null;
  if (ms >= midnight(now) && ms < midnight(now, 1)) return time;
  if (ms >= midnight(now, 1) && ms < midnight(now, 2)) return m.tomorrow_at({ time });
  if (ms >= midnight(now, -1) && ms < midnight(now)) return m.yesterday_at({ time });
  return m.day_at({ day: date(ms), time });
}

/** 0.4 s, 68.4 s, 4 min 10 s, 2 h 5 min. */
export function duration(ms: number | null | undefined): string | null {
  if (!known(ms)) return null;
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 99.95) return m.seconds({ n: reading(seconds, 1) ?? '0' });
  const whole = Math.round(seconds);
  if (whole < 3600) return m.minutes_seconds({ min: Math.floor(whole / 60), s: whole % 60 });
  return m.hours_minutes({ h: Math.floor(whole / 3600), min: Math.floor((whole % 3600) / 60) });
}

/** When 08:00 comes next, and whether that is tomorrow. */
export function nextMorning(now: number): { at: number; tomorrow: boolean } {
  const on = (days: number) => {
    const day = new Date(now);
    return new Date(day.getFullYear(), day.getMonth(), day.getDate() + days, 8).getTime();
  };
  return on(0) > now ? { at: on(0), tomorrow: false } : { at: on(1), tomorrow: true };
}
