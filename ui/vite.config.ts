import { fileURLToPath } from 'node:url';
import { paraglideVitePlugin } from '@inlang/paraglide-js';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { svelteTesting } from '@testing-library/svelte/vite';
import { defineConfig } from 'vitest/config';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig(({ mode }) => ({
  root: here('.'),
  plugins: [
    // Under vitest the messages are compiled beforehand (`npm test`): the plugin would keep the process from ending.
    ...(process.env.VITEST
      ? [svelteTesting()]
      : [
          paraglideVitePlugin({
            project: here('./project.inlang'),
            outdir: here('./src/paraglide'),
            // One language, said at build time: nothing is read from or kept in the browser.
            strategy: ['baseLocale'],
          }),
        ]),
    svelte({ configFile: false }),
  ],
  server: { port: 1420, strictPort: true },
  build: {
    outDir: mode === 'fake' ? 'dist-fake' : 'dist',
    // The window's content security policy allows no data: addresses.
    assetsInlineLimit: 0,
    // One file of code: there is nothing to fetch ahead.
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  test: {
    environment: 'jsdom',
    include: ['src/**/*.test.ts', 'tests/**/*.test.ts'],
    setupFiles: ['tests/setup.ts'],
    env: { TZ: 'UTC' },
    testTimeout: 20_000,
  },
}));
