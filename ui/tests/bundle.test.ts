// @vitest-environment node
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ESLint } from 'eslint';
import { afterAll, describe, expect, it } from 'vitest';

const ui = join(import.meta.dirname, '..');
const made: string[] = [];
afterAll(() => Promise.all(made.map((folder) => rm(folder, { recursive: true, force: true }))));

/** The text of every file that `vite build` makes. */
async function built(...args: string[]): Promise<Map<string, string>> {
  const out = await mkdtemp(join(tmpdir(), 'chrysalis-ui-'));
  made.push(out);
  const env = { ...process.env, VITEST: '', NODE_ENV: 'production' };
  await promisify(execFile)(process.execPath, ['node_modules/vite/bin/vite.js', 'build', '--outDir', out, '--emptyOutDir', ...args], { cwd: ui, env });
  const files = await readdir(out, { recursive: true, withFileTypes: true });
  const texts = files.filter((file) => file.isFile()).map(async ({ parentPath, name }) => [name, await readFile(join(parentPath, name), 'utf8')] as const);
  return new Map(await Promise.all(texts));
}

describe('what is shipped', () => {
  const shipped = built();

  it('contains no fake app, and the fake build does', async () => {
    const marker = 'chrysalis-fake-transport';
    const has = (files: Map<string, string>) => [...files.values()].some((text) => text.includes(marker));
    expect(has(await built('--mode', 'fake'))).toBe(true);
    const files = await shipped;
    expect(files.size).toBeGreaterThan(2);
    expect(has(files)).toBe(false);
    // The samples must not be there either, whatever they are called by then.
    expect([...files.values()].some((text) => text.includes('RTX 4090'))).toBe(false);
  }, 120_000);

  it('asks nobody, and has nothing its content policy forbids', async () => {
    const files = await shipped;
    const page = files.get('index.html') ?? '';
    expect(page).not.toMatch(/<script(?![^>]*\bsrc=)/);
    expect(page).not.toMatch(/https?:/);
    for (const [name, text] of files) {
      if (name.endsWith('.css')) expect(text).not.toMatch(/url\(|@import|https?:/);
      if (name.endsWith('.js')) expect(text.match(/\beval\(|new Function\(|XMLHttpRequest|new WebSocket|EventSource|sendBeacon|\bfetch\(/g)).toBeNull();
    }
  }, 120_000);
});

describe('who may import whom', () => {
  const complaints = async (path: string, text: string) => {
    const [result] = await new ESLint({ cwd: ui }).lintText(text, { filePath: join(ui, path) });
    return result?.messages.filter(({ ruleId }) => ruleId === '@typescript-eslint/no-restricted-imports').length;
  };

  it.each([
    ['src/state/other.ts', "import '@tauri-apps/api/core';", 1],
    ['src/pages/home/other.ts', "import '@tauri-apps/api/event';", 1],
    ['src/main.ts', "import '@tauri-apps/api/core';", 1],
    ['src/ipc/other.ts', "import '@tauri-apps/api/core';", 0],
    ['src/parts/other.ts', "import { Store } from '../state/store.svelte'; new Store();", 1],
    ['src/parts/other.ts', "import type { Kind } from '../ipc/view'; export type K = Kind;", 0],
    ['src/format/other.ts', "import { connect } from '../ipc/client'; connect();", 1],
    ['src/pages/jobs/other.ts', "import { connect } from '../../ipc/client'; connect();", 1],
  ])('%s: %s', async (path, text, expected) => {
    expect(await complaints(path, text)).toBe(expected);
  });
});
