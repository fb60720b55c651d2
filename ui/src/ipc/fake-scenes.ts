// The states the fake can be in. Numbers are samples that agree with each other; they were never measured.
import type { Card, Home, Job, JobResult, RunningJob } from './view';

export const SCENES = [
  'practice', 'paused', 'failed', 'open', 'fallback', 'pausing', 'restarting', 'unknown', 'empty', 'gone', 'ledger', 'loading', 'passed_over', 'unlisted',
  'wallet_none', 'wallet_no_keychain', 'wallet_watch', 'wallet_locked', 'wallet_key_gone', 'wallet_damaged', 'wallet_flight', 'wallet_long',
  'trust_known', 'trust_sealed', 'trust_refused', 'trust_windows', 'trust_rule', 'trust_container',
] as const;
export type Scene = (typeof SCENES)[number];

const GIB = 1024 ** 3;
const MINUTE = 60_000;
const GAME_CARD = 'RTX 4090';
const MODEL = 'SmolLM2-135M-Instruct';

const paysNothing = (scene: Scene) => scene !== 'open' && !scene.startsWith('wallet_') && !scene.startsWith('trust_');

function status(scene: Scene, now: number): Home['status'] {
  switch (scene) {
    case 'paused':
      return { state: 'paused', until: now + 46 * MINUTE, freed_in_ms: 1800 };
    case 'failed':
      return { state: 'failed', why: 'the model file SmolLM2-135M-Instruct-Q8_0.gguf has another hash than the network serves' };
    case 'restarting':
      return { state: 'restarting', at: now + 8_000, starts: 2, why: 'the graphics device was lost' };
    case 'loading':
      return { state: 'loading' };
    case 'empty':
    case 'unknown':
      return { state: 'waiting', last_job: null };
    default:
      return { state: 'working', questions: scene === 'open' ? 3 : 1 };
  }
}

export function fakeHome(scene: Scene, now: number): Home {
  const empty = scene === 'empty' || scene === 'unknown';
  const signed = (nanoton: string) => ({ nanoton, kind: 'signed' as const });
  const measured = (nanoton: string) => ({ nanoton, kind: 'measured' as const });
  const resting = scene === 'paused' || scene === 'failed' || scene === 'loading';
  return {
    at: now,
    network: { kind: paysNothing(scene) ? 'practice' : 'open', pays_nothing: paysNothing(scene), model: paysNothing(scene) ? MODEL : 'Qwen3-8B' },
    wish: scene === 'paused' ? { wish: 'pause', until: now + 46 * MINUTE } : scene === 'pausing' ? { wish: 'pause', until: null } : { wish: 'work' },
    status: status(scene, now),
    tokens_per_second: empty ? null : scene === 'fallback' ? 8.4 : 148.6,
    signed_last_hour: empty || resting ? null : signed('83812345'),
    today: {
      answered: empty ? 0 : 1020,
      failed: empty ? 0 : 4,
      prompt_tokens: empty ? 0 : 412_806,
      completion_tokens: empty ? 0 : 98_312,
      counted: measured(empty ? '0' : '615204118'),
      signed: signed(empty ? '0' : '612488120'),
    },
    month: {
      answered: empty ? 0 : 19_204,
      failed: empty ? 0 : 61,
      prompt_tokens: empty ? 0 : 8_412_806,
      completion_tokens: empty ? 0 : 1_898_312,
      counted: measured(empty ? '0' : '12284000001'),
      signed: signed(empty ? '0' : '12280411992'),
    },
    backend: resting || scene === 'unknown' ? null : scene === 'fallback' ? 'cpu' : 'wgpu',
    adapter: resting || scene === 'fallback' || scene === 'unknown' ? null : GAME_CARD,
    fallback: scene === 'fallback' ? 'no adapter offers the storage buffers this model needs (128 MB offered, 288 MB needed)' : null,
    passed_over: scene === 'passed_over' ? 'the graphics card cannot be trusted: the kernel product of Q4_K computes something else than the processor' : null,
    trying: scene === 'loading' ? { measuring: false, number: 1, of: 6 } : null,
    tuned:
      scene === 'open' || scene === 'unlisted'
        ? { way: 'w64-l64-r4-subgroups', at: now - 26 * 60 * MINUTE, tokens_per_second: 151.4, prompt_tokens_per_second: 2310 }
        : null,
    refused_reports: scene === 'open' ? 1 : 0,
  };
}

/** A line that looks like work, the same every time. */
function line(low: number, high: number, seed: number, points = 120): number[] {
  let state = seed;
  let at = (low + high) / 2;
  return Array.from({ length: points }, () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    at += (state / 2147483648 - 0.5) * (high - low) * 0.5;
    at = Math.max(low, Math.min(high, at));
    return Math.round(at * 10) / 10;
  });
}

const nothingRead = {
  driver: null, ours: false, asleep: false, memory_total: null, memory_used: null, memory_ours: null, celsius: null, watts: null,
  load_percent: null, fan_percent: null, tokens_per_second: null, line: [],
} satisfies Partial<Card>;

export function fakeCards(scene: Scene): Card[] {
  const busy = ['practice', 'open', 'pausing', 'passed_over'].includes(scene);
  if (scene === 'empty' || scene === 'unlisted') return [];
  if (scene === 'unknown') {
    return [
      { ...nothingRead, id: 'a', kind: 'graphics', name: 'Radeon RX 7900 XTX', ours: true },
      { ...nothingRead, id: 'b', kind: 'graphics', name: 'Arc A770', asleep: true, memory_total: 16 * GIB },
    ];
  }
  const cards: Card[] = [
    {
      id: '0000:01:00.0', kind: 'graphics', name: GAME_CARD, driver: 'NVIDIA 570.153.02', ours: busy, asleep: false,
      memory_total: 24 * GIB, memory_used: (busy ? 18.3 : 1.1) * GIB, memory_ours: busy ? 17.2 * GIB : 0,
      celsius: busy ? 67 : 41, watts: busy ? 212 : 24, load_percent: busy ? 74 : 2, fan_percent: busy ? 48 : 0,
      tokens_per_second: busy ? 154 : null,
      line: busy ? line(45, 96, 7) : [...line(45, 96, 7, 80), ...line(0, 4, 3, 40)],
    },
  ];
  if (scene === 'open' || scene === 'practice') {
    cards.push({
      id: '0000:02:00.0', kind: 'graphics', name: 'RTX 3060', driver: 'NVIDIA 570.153.02', ours: false, asleep: false,
      memory_total: 12 * GIB, memory_used: 0.9 * GIB, memory_ours: 0,
      celsius: 37, watts: 12.4, load_percent: 0, fan_percent: null, tokens_per_second: null, line: line(0, 6, 11),
    });
  }
  if (scene === 'fallback') {
    cards.push({
      ...nothingRead, id: 'cpu', kind: 'processor', name: 'Ryzen 7 5800X', ours: true, memory_total: 32 * GIB,
      memory_used: 9.4 * GIB, memory_ours: 0.3 * GIB, celsius: 71, load_percent: 88, tokens_per_second: 8.4, line: line(70, 99, 5, 60),
    });
  }
  return cards;
}

export function fakeRunning(scene: Scene, now: number): RunningJob[] {
  const all: RunningJob[] = [
    { id: '5f0c1a', started: now - 2_600, prompt_tokens: 11_264, completion_tokens: 130 },
    { id: '5f0c19', started: now - 11_600, prompt_tokens: 1_022, completion_tokens: 588 },
    { id: '5f0c17', started: now - 18_500, prompt_tokens: null, completion_tokens: null },
  ];
  return scene === 'open' ? all : scene === 'practice' || scene === 'fallback' || scene === 'pausing' || scene === 'passed_over' || scene === 'unlisted' ? all.slice(1, 2) : [];
}

/** A job as the ledger prices it: counted tokens times the fee, 18 nanotons each. */
export function fakeJob(at: number, tokens: [number, number, number, number], over: Partial<Job> = {}): Job {
  const [prompt, cached, completion, reasoning] = tokens;
  const weights = [1_000_000, 100_000, 8_000_000, 8_000_000] as const;
  const counted = (n: number, weight: number) => Math.floor((n * weight) / 1_000_000);
  const sorts = [prompt, cached, completion, reasoning].map((n, i) => ({ count: n, weight: weights[i] ?? null, counted: counted(n, weights[i] ?? 0) }));
  const sum = sorts.reduce((all, sort) => all + sort.counted, 0);
  const empty = { count: 0, weight: null, counted: 0 };
  return {
    key: '1', id: 'b7e1f09c5d2a44c08c1e77aa0f3b9d12', started: at - 68_400, finished: at, model: MODEL, result: { result: 'done' },
    prompt: sorts[0] ?? empty, cached: sorts[1] ?? empty, completion: sorts[2] ?? empty, reasoning: sorts[3] ?? empty,
    counted_tokens: sum, fee_nanoton: '18', earned: { nanoton: (BigInt(sum) * 18n).toString(), kind: 'measured' },
    signed_at: null, streamed: true, params_version: 5, pays_nothing: true, ...over,
  };
}

export function fakeJobs(scene: Scene, now: number): Job[] {
  if (scene === 'empty' || scene === 'unknown') return [];
  const pays = !paysNothing(scene);
  const tokens: [number, number, number, number][] = [
    [5_120, 4_096, 1_372, 2_112], [1_536, 512, 586, 704], [846, 0, 902, 0], [5_928, 8_192, 1_585, 3_390], [3_262, 2_048, 1_024, 1_180], [3_072, 0, 0, 0],
    [4_354, 2_048, 714, 1_102], [1_184, 0, 214, 188], [3_584, 4_096, 1_216, 1_744],
  ];
  const results: JobResult[] = [
    { result: 'done' }, { result: 'done' }, { result: 'done' }, { result: 'done' }, { result: 'stopped' }, { result: 'failed', code: -1 },
    { result: 'done' }, { result: 'refused', status: 429 }, { result: 'done' },
  ];
  return Array.from({ length: 130 }, (_, i) => {
    const result = results[i % 9] ?? { result: 'done' };
    const nothing = result.result === 'failed' || result.result === 'refused';
    const at = now - 16_000 - i * 11 * MINUTE;
    const job = fakeJob(at, tokens[i % 9] ?? [1, 0, 1, 0], {
      key: String(4000 - i), id: (0xb7e1f09c5d2a44c0n - BigInt(i)).toString(16), result,
      started: at - 2_100 - ((i * 7919) % 90) * 1000, streamed: i % 3 !== 2, pays_nothing: !pays, model: pays ? 'Qwen3-8B' : MODEL,
    });
    if (nothing) return { ...job, earned: { nanoton: '0', kind: 'measured' } };
    if (i < 2) return job;
    return { ...job, earned: { ...job.earned, kind: pays && i > 60 ? 'paid' : 'signed' }, signed_at: at + 20_000 };
  });
}
