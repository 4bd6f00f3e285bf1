import js from '@eslint/js'
import ts from 'typescript-eslint'

/** Imports point downwards: commands -> cli -> engine -> {archive, postgres, storage} -> support. */
const forbid = (files, patterns) => ({files, rules: {'no-restricted-imports': ['error', {patterns}]}})

const terminal = {
  group: ['**/commands/**', '**/cli/**', 'ora', '@inquirer/*', '@oclif/*'],
  message: 'Only cli/ and commands/ know the terminal; report through events.',
}
const cloud = {
  group: ['@aws-sdk/*', '@google-cloud/*', '@azure/*'],
  message: 'Only a storage provider imports a cloud SDK.',
}

export default ts.config(
  {ignores: ['dist/', 'node_modules/', 'coverage/']},
  js.configs.recommended,
  ...ts.configs.recommendedTypeChecked.map((config) => ({...config, files: ['src/**/*.ts', 'test/**/*.ts']})),
  {
    files: ['src/**/*.ts'],
    languageOptions: {parserOptions: {project: './tsconfig.json', tsconfigRootDir: import.meta.dirname}},
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-unused-vars': ['error', {argsIgnorePattern: '^_', varsIgnorePattern: '^_'}],
      'max-lines': ['error', {max: 300, skipBlankLines: true, skipComments: true}],
      'max-lines-per-function': ['error', {max: 70, skipBlankLines: true, skipComments: true}],
      complexity: ['error', 16],
      'no-console': 'error',
      'no-restricted-properties': [
        'error',
        {object: 'process', property: 'env', message: 'Only cli/ reads the environment; pass values in.'},
      ],
    },
  },
  {files: ['src/cli/**/*.ts', 'src/library/context.ts'], rules: {'no-restricted-properties': 'off'}},
  {
    files: ['test/**/*.ts'],
    languageOptions: {parserOptions: {project: './test/tsconfig.json', tsconfigRootDir: import.meta.dirname}},
    rules: {
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['**/*.js', '**/*.cjs'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        require: 'readonly',
        module: 'writable',
        Buffer: 'readonly',
        URL: 'readonly',
        setTimeout: 'readonly',
        performance: 'readonly',
        clearTimeout: 'readonly',
      },
    },
  },
  forbid(
    ['src/commands/**'],
    [
      {
        group: ['**/engine/**', '**/postgres/**', '**/storage/**', '**/archive/**'],
        message: 'Commands call the library (src/index.ts) and cli/, nothing below.',
      },
    ],
  ),
  forbid(['src/cli/**'], [cloud, {group: ['**/commands/**'], message: 'Imports point downwards only.'}]),
  forbid(
    ['src/engine/**'],
    [
      terminal,
      cloud,
      {
        group: ['**/storage/*', '!**/storage/provider.js'],
        message: 'The engine knows the StorageProvider interface, not a provider.',
      },
    ],
  ),
  forbid(
    ['src/archive/**', 'src/postgres/**', 'src/storage/**', 'src/notify/**'],
    [terminal, {group: ['**/engine/**'], message: 'Imports point downwards only.'}],
  ),
  forbid(
    ['src/support/**'],
    [
      terminal,
      cloud,
      {
        group: ['**/engine/**', '**/postgres/**', '**/storage/**', '**/archive/**'],
        message: 'support/ imports nothing of ours.',
      },
    ],
  ),
)
