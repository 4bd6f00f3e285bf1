/** @type {import('jest').Config} */
export default {
  testEnvironment: '<rootDir>/test/support/environment.cjs',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: {'^(\\.{1,2}/.*)\\.js$': '$1'},
  // Types are checked by `npm run typecheck`; here each file is only stripped of them.
  transform: {'\\.ts$': ['ts-jest', {useESM: true, tsconfig: 'test/tsconfig.json', diagnostics: false}]},
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  reporters: ['default', '<rootDir>/test/support/skip-reporter.cjs'],
  testTimeout: 120_000,
  maxWorkers: 2,
}
