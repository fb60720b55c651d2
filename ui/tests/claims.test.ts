// No text of the window is shown at a grade that does not carry it. The list of texts with their lowest grades is reviewed by people; `tidy`
// sees to it that it is complete (`tests/tidy/claims.rs`).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tick } from 'svelte';
import { afterEach, describe, expect, it } from 'vitest';
import { ALL_GRADES, reaches } from '../src/format/trust';
import type { Scene } from '../src/ipc/fake-scenes';
import type { Grade } from '../src/ipc/view';
import { type Opened, openWindow } from './window';

interface Entry {
  lowest: Grade;
  kind: string;
}

const list = JSON.parse(readFileSync(join(import.meta.dirname, '../../tests/tidy/claims.json'), 'utf8')) as { messages: Record<string, Entry> };

/** What a message looks like on the page, whatever is filled in. */
function pattern(message: string): RegExp {
  const text = message.slice(message.indexOf(': ') + 2);
  const parts = text.split(/\{\w+\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}

const claims = Object.entries(list.messages).map(([message, { lowest }]) => ({ message, lowest, shown: pattern(message) }));
const graded = claims.filter(({ lowest }) => lowest !== 'self-claim');

let opened: Opened | undefined;
afterEach(() => {
  opened?.store.close();
  opened?.unmount();
  opened = undefined;
});

/** Every piece of text of the page, one by one. */
function pieces(): string[] {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found: string[] = [];
  while (texts.nextNode()) found.push((texts.currentNode.textContent ?? '').trim());
  const named = [...document.querySelectorAll('[aria-label], [title]')].flatMap((it) => [it.getAttribute('aria-label') ?? '', it.getAttribute('title') ?? '']);
  return [...found, ...named].filter(Boolean);
}

/** All pages of the window at a grade, with everything explained. */
async function everything(scene: Scene, grade: Grade | null): Promise<string[]> {
  opened = await openWindow(scene, (fake) => {
    fake.trusted.trust_ = { ...fake.trusted.trust_, proved: grade ? { grade, at: Date.now() } : null };
  });
  const found: string[] = [];
  for (const page of ['home', 'jobs', 'earnings', 'wallet', 'trust'] as const) {
    opened.store.show(page);
    await tick();
    for (let i = 0; i < 8; i += 1) await Promise.resolve();
    await tick();
    opened.container.querySelector<HTMLElement>('[role=switch]')?.click();
    await tick();
    found.push(...pieces());
  }
  opened.store.close();
  opened.unmount();
  opened = undefined;
  return found;
}

const stronger = (grade: Grade, texts: readonly string[]) =>
  graded.filter(({ lowest, shown }) => !reaches(grade, lowest) && texts.some((text) => shown.test(text))).map(({ message }) => message);

describe('what is said at a grade', () => {
  it('knows texts of every grade above the lowest, so that there is something to find', () => {
    for (const grade of ALL_GRADES.slice(1)) expect(graded.filter(({ lowest }) => lowest === grade).length).toBeGreaterThan(0);
  });

  it.each(ALL_GRADES)('is no stronger than %s', async (grade) => {
    for (const scene of ['open', 'trust_windows'] as const) {
      const texts = await everything(scene, grade);
      expect(texts.length).toBeGreaterThan(100);
      expect(stronger(grade, texts)).toEqual([]);
    }
  }, 60_000);

  it('is what the grade itself says where it has come so far', async () => {
    for (const grade of ALL_GRADES.slice(1)) {
      const texts = await everything('open', grade);
      const own = graded.filter(({ lowest }) => lowest === grade);
      expect(own.some(({ shown }) => texts.some((text) => shown.test(text)))).toBe(true);
      // And one grade below the same texts would be found.
      const below = ALL_GRADES[ALL_GRADES.indexOf(grade) - 1] ?? 'self-claim';
      expect(stronger(below, texts).length).toBeGreaterThan(0);
    }
  }, 60_000);

  it('is the least where nothing was shown to anybody', async () => {
    for (const scene of ['practice', 'unknown', 'failed', 'wallet_none', 'trust_refused'] as const) expect(stronger('self-claim', await everything(scene, null)), scene).toEqual([]);
  }, 120_000);
});
