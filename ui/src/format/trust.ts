// The page Trust in words: what was measured, who accepts it, what guards the questions.
import type { AskedNetwork, Grade, KeptRefusal, Missing, NetworkVerdict, ProxyStanding, Trust, TrustHost, TrustPart, TrustSource, Wall, WallKind } from '../ipc/view';
import { m } from '../paraglide/messages.js';
import { grouped, reading } from './number';

/** How a line stands: as it should, as it should not, worth a look, or neither. */
export type Mark = 'good' | 'bad' | 'look' | 'plain';

/** What a grade means, in the words of the verifier that grants it: `tidy` compares them. */
export interface GradeWords {
  title: string;
  proves: string;
  not: string;
  read: string;
}

const GRADES: Record<Grade, { [K in keyof GradeWords]: () => string }> = {
  'self-claim': { title: m.grade_self_claim_title, proves: m.grade_self_claim_proves, not: m.grade_self_claim_not, read: m.grade_self_claim_read },
  'known-machine-uncertified': {
    title: m.grade_known_machine_uncertified_title, proves: m.grade_known_machine_uncertified_proves,
    not: m.grade_known_machine_uncertified_not, read: m.grade_known_machine_uncertified_read,
  },
  'known-machine': { title: m.grade_known_machine_title, proves: m.grade_known_machine_proves, not: m.grade_known_machine_not, read: m.grade_known_machine_read },
  'processor-isolated': {
    title: m.grade_processor_isolated_title, proves: m.grade_processor_isolated_proves, not: m.grade_processor_isolated_not, read: m.grade_processor_isolated_read,
  },
  'hardware-isolated': {
    title: m.grade_hardware_isolated_title, proves: m.grade_hardware_isolated_proves, not: m.grade_hardware_isolated_not, read: m.grade_hardware_isolated_read,
  },
};

/** All grades, the lowest first. */
export const ALL_GRADES = Object.keys(GRADES) as Grade[];

export function gradeWords(grade: Grade): GradeWords {
  const words = GRADES[grade];
  return { title: words.title(), proves: words.proves(), not: words.not(), read: words.read() };
}

/** Whether a grade is at least another. */
export const reaches = (grade: Grade, least: Grade) => ALL_GRADES.indexOf(grade) >= ALL_GRADES.indexOf(least);

/** A hash as people compare it: the first and the last digits. The whole one is under it. */
export const shortHash = (hex: string) => (hex.length > 20 ? `${hex.slice(0, 4)} ${hex.slice(4, 8)} … ${hex.slice(-4)}` : hex);

export const partName = (part: TrustPart) =>
  [{ app: m.part_app, worker: m.part_worker, model: m.part_model }[part.kind](), part.name].filter(Boolean).join(' ');

export const measuredBy = (part: TrustPart) => ({ app: m.measured_by_app, worker: m.measured_by_app, model: m.measured_by_worker })[part.kind]();

export function sourceWords({ source, measured }: { source: TrustSource; measured: string | null }): string {
  switch (source.source) {
    case 'release_log':
      return m.from_release_log({ log: source.log });
    case 'network':
      return m.from_network();
    case 'practice':
      return m.from_practice();
    case 'not_logged':
      return m.from_not_logged();
    case 'nobody':
      // Of what was not measured yet nobody was asked.
      return measured === null ? m.from_not_asked() : m.from_nobody();
  }
}

/** Measured against expected. What has nothing to be compared with is neither good nor bad. */
export function partStands(part: TrustPart): { mark: Mark; word: string } {
  if (part.measured === null) return { mark: 'plain', word: m.part_not_measured() };
  if (part.expected === null) return { mark: 'look', word: m.part_not_compared() };
  return part.measured === part.expected ? { mark: 'good', word: m.part_same() } : { mark: 'bad', word: m.part_other() };
}

export function networkName(network: AskedNetwork): string {
  const names: Record<AskedNetwork, () => string> = {
    practice: m.net_practice, open_anybody: m.net_open_anybody, open_known: m.net_open_known, open_certified: m.net_open_certified, cocoon_main: m.net_cocoon_main,
  };
  return names[network]();
}

export function verdictStands(verdict: NetworkVerdict['verdict']): { mark: Mark; word: string } {
  switch (verdict) {
    case 'yes':
      return { mark: 'good', word: m.verdict_yes() };
    // A network that wants something else is no fault of this PC.
    case 'no':
      return { mark: 'plain', word: m.verdict_no() };
    case 'unknown':
      return { mark: 'look', word: m.verdict_unknown() };
  }
}

const MISSING: Record<Missing, () => string> = {
  system: m.missing_system, box: m.missing_box, anybody: m.missing_anybody, tdx_and_card: m.missing_tdx_and_card, tdx: m.missing_tdx, card: m.missing_card,
  tdx_or_card_unknown: m.missing_tdx_or_card_unknown, cocoons_machine: m.missing_cocoons_machine, sealing: m.missing_sealing, sealed_machine: m.missing_sealed_machine,
  card_proof: m.missing_card_proof, tpm: m.missing_tpm, newer_tpm: m.missing_newer_tpm, leave: m.missing_leave, tpm_answer: m.missing_tpm_answer,
  tpm_unknown: m.missing_tpm_unknown, certificate: m.missing_certificate, certificate_unknown: m.missing_certificate_unknown, uefi: m.missing_uefi,
  secure_boot: m.missing_secure_boot, secure_boot_unknown: m.missing_secure_boot_unknown, boot_log: m.missing_boot_log, boot_log_unknown: m.missing_boot_log_unknown,
  guest_proof: m.missing_guest_proof, registration: m.missing_registration,
};

export const missingWords = (missing: Missing) => MISSING[missing]();

/** A proxy's reason, with grades by their titles: it names them as programs do. */
export function plainReason(why: string): string {
  // The longest name first, because one is the beginning of another.
  const names = [...ALL_GRADES].sort((one, other) => other.length - one.length);
  return why.replace(new RegExp(`\\b(${names.join('|')})\\b(?!-)`, 'g'), (name) => `“${gradeWords(name as Grade).title}”`);
}

export function proxyStands({ standing }: ProxyStanding): { mark: Mark; word: string; why: string | null } {
  switch (standing.standing) {
    case 'connecting':
      return { mark: 'plain', word: m.proxy_connecting(), why: null };
    case 'accepted':
      return { mark: 'good', word: standing.grade ? m.proxy_accepted({ grade: gradeWords(standing.grade).title }) : m.proxy_accepted_plain(), why: null };
    case 'refused':
      return { mark: 'bad', word: m.proxy_refused(), why: plainReason(standing.why) };
    case 'not_trusted':
      return { mark: 'bad', word: m.proxy_not_trusted(), why: plainReason(standing.why) };
  }
}

/** A refusal that was written down: it may be over by now, so it is neither good nor bad. */
export const refusalTold = (refusal: KeptRefusal, time: string | null) => ({
  word: refusal.by_proxy ? m.refused_by_proxy() : m.refused_by_this_pc(),
  why: time ? m.refused_last({ why: plainReason(refusal.why), time }) : plainReason(refusal.why),
});

/** What is proved, where nothing was shown to anybody: nothing. */
export const gradeOf = (trust: Trust): Grade => trust.proved?.grade ?? 'self-claim';

export interface Guard {
  name: string;
  mark: Mark;
  value: string;
  /** What it does not protect against. */
  not: string;
}

/** What guards the questions at a grade. Where no graphics card computes nothing is said of its memory. */
export function guards(grade: Grade, withCard: boolean | null): Guard[] {
  const memory = reaches(grade, 'processor-isolated');
  const card = reaches(grade, 'hardware-isolated');
  const all: Guard[] = [
    { name: m.link_line(), mark: 'good', value: m.link_value(), not: m.link_not() },
    { name: m.disk_line(), mark: 'good', value: m.disk_value(), not: m.disk_not() },
    { name: m.memory_line(), mark: memory ? 'good' : 'look', value: memory ? m.memory_isolated() : m.memory_open(), not: memory ? m.memory_isolated_not() : m.memory_open_not() },
  ];
  if (withCard === false) return all;
  return [...all, { name: m.vram_line(), mark: card ? 'good' : 'look', value: card ? m.memory_isolated() : m.memory_open(), not: card ? m.vram_isolated_not() : m.vram_open_not() }];
}

const WALLS: Record<WallKind, { name: () => string; not: () => string; withoutCard?: () => string }> = {
  network: { name: m.wall_network, not: m.wall_network_not },
  files: { name: m.wall_files, not: m.wall_files_not, withoutCard: m.wall_files_not_processor },
  programs: { name: m.wall_programs, not: m.wall_programs_not, withoutCard: m.wall_programs_not_processor },
  others: { name: m.wall_others, not: m.wall_others_not },
  rights: { name: m.wall_rights, not: m.wall_rights_not },
  calls: { name: m.wall_calls, not: m.wall_calls_not },
  memory: { name: m.wall_memory, not: m.wall_memory_not, withoutCard: m.wall_memory_not_processor },
};

const GIB = 1024 ** 3;

function wallValue(wall: Wall): string {
  if (wall.closed === null) return m.wall_unknown();
  if (!wall.closed) return wall.partly ? m.wall_partly() : m.wall_open();
  // A limit refuses nothing below it.
  if (wall.limit !== null) return m.wall_at_most({ n: reading(wall.limit / GIB, 1) ?? '0' });
  return wall.by === 'worker' ? m.wall_closed_said() : m.wall_closed();
}

function wallMark(wall: Wall): Mark {
  if (wall.closed === null) return 'look';
  if (!wall.closed) return wall.partly ? 'look' : 'bad';
  // What only the worker itself says is worth a look, not a tick.
  return wall.by === 'worker' ? 'plain' : 'good';
}

export function wallStands(wall: Wall, withCard: boolean | null): Guard {
  const { name, not, withoutCard } = WALLS[wall.kind];
  return { name: name(), mark: wallMark(wall), value: wallValue(wall), not: withCard === false && withoutCard ? withoutCard() : not() };
}

export const isOpen = (trust: Trust) => trust.walls?.walls.some((wall) => wall.closed === false) ?? false;
export const isRefused = (trust: Trust) => trust.proxies.some(({ standing }) => standing.standing === 'refused' || standing.standing === 'not_trusted');

/** What to do about a part that is not what it should be; `null`: there is none. */
export function differs(trust: Trust): string | null {
  const other = trust.parts.filter((part) => partStands(part).mark === 'bad');
  if (other.length === 0) return null;
  return other.every(({ kind }) => kind === 'model') ? m.trust_differs_model() : m.trust_differs();
}

export const purposeWords = (host: TrustHost) => ({ proxy: m.purpose_proxy, chain: m.purpose_chain, registrar: m.purpose_registrar })[host.purpose]();

/** Bytes on a line, of 1,000 each, as those who sell lines count them: 4.1 MB, 12 KB, 612 B. */
export function traffic(value: number | null): string | null {
  if (value === null || !Number.isFinite(value)) return null;
  if (value < 1_000) return m.n_bytes({ n: grouped(String(Math.round(value))) });
  const [unit, size] = value < 999_950 ? ([m.kilobytes, 1e3] as const) : value < 999_950_000 ? ([m.megabytes, 1e6] as const) : ([m.gigabytes, 1e9] as const);
  const n = value / size;
  return unit({ n: reading(n, n < 9.95 ? 1 : 0) ?? '0' });
}

export function hostBytes(host: TrustHost): string {
  const [sent, received] = [traffic(host.sent), traffic(host.received)];
  return sent === null || received === null ? m.bytes_not_counted() : m.bytes_out_in({ sent, received });
}
