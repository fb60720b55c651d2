// How a job ended, in words.
import type { Job, JobResult } from '../ipc/view';
import { m } from '../paraglide/messages.js';
import { count } from './number';

export interface Ending {
  word: string;
  /** The number behind it, where there is one. */
  more: string | null;
  mark: 'check' | 'stop' | 'cross';
  tone: 'ok' | 'info' | 'no';
}

export function ending(result: JobResult): Ending {
  switch (result.result) {
    case 'done':
      return { word: m.result_done(), more: null, mark: 'check', tone: 'ok' };
    case 'stopped':
      return { word: m.result_stopped(), more: m.result_stopped_more(), mark: 'stop', tone: 'info' };
    case 'refused':
      return { word: m.result_refused(), more: m.result_refused_more({ status: result.status }), mark: 'cross', tone: 'no' };
    case 'failed':
      return { word: m.result_failed(), more: failure(result.code), mark: 'cross', tone: 'no' };
  }
}

/** The codes that are written down for jobs without an answer: the protocol's. */
function failure(code: number): string {
  switch (code) {
    case 651:
      return m.result_failed_worker();
    case 652:
      return m.result_failed_time();
    case 653:
      return m.result_failed_proxy();
    default:
      return m.result_failed_more({ code: String(code).replace('-', '−') });
  }
}

const sum = (a: number | null, b: number | null) => (a === null || b === null ? null : a + b);

export interface TokenWords {
  tokens: string;
  more: string | null;
}

/** Tokens read: all, and how many of them were not computed anew. */
export function tokensIn(job: Job): TokenWords {
  const cached = count(job.cached.count);
  return {
    tokens: count(sum(job.prompt.count, job.cached.count)) ?? m.no_data_yet(),
    more: job.cached.count && cached ? m.n_cached({ n: cached }) : null,
  };
}

/** Tokens written: all, and how many of them were thinking. */
export function tokensOut(job: Job): TokenWords {
  const thinking = count(job.reasoning.count);
  return {
    tokens: count(sum(job.completion.count, job.reasoning.count)) ?? m.no_data_yet(),
    more: job.reasoning.count && thinking ? m.n_thinking({ n: thinking }) : null,
  };
}

/** A job's amount is "counted" where other figures are "measured". */
export function kindWord(job: Job): string | undefined {
  return job.earned.kind === 'measured' ? m.kind_counted() : undefined;
}
