import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import ts from 'typescript-eslint';

/** Who may import whom (house rule: data flows one way, and one folder knows Tauri). Types may be named anywhere. */
const forbid = (...groups) => ({
  '@typescript-eslint/no-restricted-imports': [
    'error',
    {
      patterns: [
        { group: ['@tauri-apps/*'], message: 'Only src/ipc speaks to Tauri.' },
        ...groups.map((group) => ({ group: [`**/${group}/*`, `**/${group}/**`], allowTypeImports: true })),
      ],
    },
  ],
});

export default ts.config(
  { ignores: ['dist/', 'dist-fake/', 'screens/', 'src/paraglide/', 'src/ipc/bindings.ts', 'node_modules/'] },
  js.configs.recommended,
  ...ts.configs.strict,
  ...svelte.configs.recommended,
  {
    languageOptions: { globals: { ...globals.browser } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: { eqeqeq: 'error', 'no-console': 'error', 'svelte/require-each-key': 'error', ...forbid() },
  },
  { files: ['**/*.svelte', '**/*.svelte.ts'], languageOptions: { parserOptions: { parser: ts.parser } } },
  { files: ['src/pages/**'], rules: forbid('ipc') },
  { files: ['src/parts/**'], rules: forbid('ipc', 'state', 'pages') },
  { files: ['src/format/**'], rules: forbid('ipc', 'state', 'pages', 'parts') },
  { files: ['src/state/**'], rules: forbid('ipc', 'pages', 'parts') },
  { files: ['src/ipc/**'], rules: { '@typescript-eslint/no-restricted-imports': 'off' } },
  {
    files: ['tests/**', '**/*.test.ts', '*.config.*'],
    languageOptions: { globals: { ...globals.node } },
    rules: { '@typescript-eslint/no-non-null-assertion': 'off', 'no-console': 'off', ...forbid() },
  },
);
