// What the fake knows about trust. Samples that agree with each other, made up; nothing of it was measured.
import type { Answer, TrustCalls } from './client';
import type { Scene } from './fake-scenes';
import told from './fake-walls.json';
import type { ApiError, Grade, KeptRefusal, NetworkVerdict, ProxyStanding, RuleChange, Trust, TrustHost, Walls } from './view';

const MINUTE = 60_000;
const hex = (seed: bigint) => (seed * 0x9e3779b97f4a7c15f39cc0605cedc835n).toString(16).padStart(32, '0').slice(-32).repeat(2);

const practice = (scene: Scene) => !(scene === 'open' || scene.startsWith('wallet_') || scene.startsWith('trust_'));

function proved(scene: Scene): Grade | null {
  switch (scene) {
    case 'unknown':
    case 'empty':
      return null;
    case 'trust_known':
    case 'trust_windows':
    case 'trust_rule':
    case 'trust_container':
      return 'known-machine';
    case 'trust_refused':
      return 'known-machine-uncertified';
    case 'trust_sealed':
      return 'processor-isolated';
    default:
      return 'self-claim';
  }
}

function networks(scene: Scene): NetworkVerdict[] | null {
  if (scene === 'unknown') return null;
  const no = (network: NetworkVerdict['network'], missing: NetworkVerdict['missing']): NetworkVerdict => ({ network, verdict: 'no', missing });
  const yes = (network: NetworkVerdict['network']): NetworkVerdict => ({ network, verdict: 'yes', missing: null });
  const known = scene === 'trust_known' || scene === 'trust_sealed' || scene === 'trust_windows' || scene === 'trust_rule' || scene === 'trust_container';
  return [
    yes('practice'),
    yes('open_anybody'),
    known || scene === 'trust_refused' ? yes('open_known') : no('open_known', 'registration'),
    known
      ? yes('open_certified')
      : scene === 'trust_refused'
        ? no('open_certified', 'certificate')
        : { network: 'open_certified', verdict: 'unknown', missing: 'certificate_unknown' },
    no('cocoon_main', 'tdx_and_card'),
  ];
}

/** Boxes as the program tells them, written by its own test: no line is made up here. */
const WALLS = told as Record<keyof typeof told, unknown> as Record<keyof typeof told, Walls>;

function walls(scene: Scene, now: number): Walls | null {
  if (scene === 'unknown' || scene === 'paused' || scene === 'failed') return null;
  const which = scene === 'trust_windows' ? 'windows' : scene === 'trust_rule' ? 'windows_rule' : scene === 'trust_container' ? 'windows_container' : scene === 'fallback' ? 'processor' : 'card';
  return { ...WALLS[which], at: now - 4_000 };
}

function proxies(scene: Scene, now: number): ProxyStanding[] {
  if (scene === 'unknown' || scene === 'paused') return [];
  if (practice(scene)) return [{ endpoint: '127.0.0.1:41807', standing: { standing: 'accepted', grade: null }, at: null }];
  const accepted = (endpoint: string): ProxyStanding => ({ endpoint, standing: { standing: 'accepted', grade: proved(scene) ?? 'self-claim' }, at: null });
  const all = [accepted('198.51.100.7:30080'), accepted('203.0.113.40:30080')];
  if (scene !== 'trust_refused') return all;
  return [
    accepted('198.51.100.7:30080'),
    { endpoint: '203.0.113.40:30080', standing: { standing: 'refused', why: 'this computer proves the grade known-machine-uncertified, which is not accepted here' }, at: now - 3 * MINUTE },
    { endpoint: '192.0.2.19:30080', standing: { standing: 'not_trusted', why: 'the proof was made for another question or for another connection' }, at: now - 5 * MINUTE },
    { endpoint: '192.0.2.77:30080', standing: { standing: 'connecting' }, at: null },
  ];
}

function refusals(scene: Scene, now: number): KeptRefusal[] {
  if (scene !== 'trust_refused') return [];
  return [
    { endpoint: '203.0.113.40:30080', by_proxy: true, why: 'this computer proves the grade known-machine-uncertified, which is not accepted here', at: now - 3 * MINUTE },
    { endpoint: '192.0.2.19:30080', by_proxy: false, why: 'the proof was made for another question or for another connection', at: now - 5 * MINUTE },
    { endpoint: '198.51.100.7:30080', by_proxy: true, why: 'the registrar\'s statement has expired', at: now - 9 * 24 * 60 * MINUTE },
  ];
}

const registrar = (scene: Scene, now: number): TrustHost[] =>
  scene === 'open' ? [] : [{ name: 'registrar.example', purpose: 'registrar', local: false, sent: null, received: null, last: now - 26 * 60 * MINUTE }];

export function fakeTrust(scene: Scene, now: number): Trust {
  const grade = proved(scene);
  const model = practice(scene) ? 'SmolLM2-135M-Instruct' : 'Qwen3-8B';
  const none = scene === 'unknown';
  const released = !practice(scene);
  const log = { source: 'release_log' as const, log: 'log.example/chrysalis' };
  return {
    at: now,
    checked_at: none ? null : now - 6 * MINUTE,
    practice: practice(scene),
    parts: [
      { kind: 'app', name: '0.1.0', measured: none ? null : hex(3n), expected: released ? hex(3n) : null, source: released ? log : { source: 'nobody' }, why: null },
      {
        kind: 'worker', name: '0.1.0', measured: none ? null : hex(5n), expected: released ? (scene === 'trust_refused' ? hex(6n) : hex(5n)) : null,
        source: released ? log : { source: 'nobody' }, why: null,
      },
      scene === 'paused' || none
        ? { kind: 'model', name: null, measured: null, expected: null, source: { source: 'nobody' }, why: null }
        : { kind: 'model', name: model, measured: hex(7n), expected: practice(scene) ? null : hex(7n), source: { source: practice(scene) ? 'practice' : 'network' }, why: null },
    ],
    networks: networks(scene),
    proxies: proxies(scene, now),
    refusals: refusals(scene, now),
    proved: grade ? { grade, at: now - 41 * MINUTE } : null,
    card: none || scene === 'paused' || scene === 'failed' || scene === 'loading' ? null : scene !== 'fallback',
    walls: walls(scene, now),
    hosts: none
      ? []
      : practice(scene)
        ? [
            { name: '127.0.0.1', purpose: 'proxy', local: true, sent: 812_401, received: 240_118, last: null },
            { name: '127.0.0.1', purpose: 'chain', local: true, sent: null, received: null, last: null },
          ]
        : [
            { name: '198.51.100.7', purpose: 'proxy', local: false, sent: 4_120_333, received: 1_104_870, last: null },
            { name: '203.0.113.40', purpose: 'proxy', local: false, sent: 612, received: 0, last: null },
            { name: 'toncenter.com', purpose: 'chain', local: false, sent: null, received: null, last: null },
            ...registrar(scene, now),
          ],
    counted_since: now - 190 * MINUTE,
  };
}

export class FakeTrust {
  trust_: Trust;
  /** What was asked, for tests. */
  readonly asked: string[] = [];
  /** What Windows answers when it is asked about the rule; `null`: it does it. */
  declined: string | null = null;
  #error: () => ApiError | null;

  constructor(scene: Scene, now: number, error: () => ApiError | null) {
    this.trust_ = fakeTrust(scene, now);
    this.#error = error;
  }

  #answer<T>(name: string, data: () => T): Promise<Answer<T>> {
    this.asked.push(name);
    const error = this.#error();
    return Promise.resolve(error ? { status: 'error', error } : { status: 'ok', data: data() });
  }

  #change(change: RuleChange): Promise<Answer<Trust>> {
    if (this.declined !== null) {
      this.asked.push(`rule ${change}`);
      return Promise.resolve({ status: 'error', error: { code: 'refused', message: this.declined } });
    }
    return this.#answer(`rule ${change}`, () => {
      const { walls } = this.trust_;
      this.trust_ = { ...this.trust_, walls: walls && { ...(change === 'add' ? WALLS.windows_rule : WALLS.windows), at: walls.at } };
      return this.trust_;
    });
  }

  readonly calls: TrustCalls = {
    page: () => this.#answer('page', () => this.trust_),
    check: () => this.#answer('check', () => this.trust_),
    rule: (change) => this.#change(change),
    proof: () => this.#answer('proof', () => JSON.stringify({ chrysalis_proof: 1, claimed: this.trust_.proved?.grade ?? 'self-claim' })),
  };
}
