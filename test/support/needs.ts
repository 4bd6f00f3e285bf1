import {describe} from '@jest/globals'

/** What a test may need that not every machine has. */
export type Need =
  | 'pg18-tools'
  | 'embedded-server'
  | 'installed-server'
  | 'old-node'
  | 'docker'
  | 's3'
  | 'azure'
  | 'gcs'
  | 'chromium'
  | 'sample-data'
  | 'tmpfs'
  | 'root'
  | 'non-root'

type Describe = (name: string, tests: () => void) => void

/**
 * `describe` where the need is met, else a skip whose name says what is missing. `missing` is why it is not met.
 * A skip is a failure where DBBAK_TESTS_MUST_RUN (names with commas between, or `all`) lists the need.
 */
export function needs(need: Need, missing: string | false | undefined): Describe {
  if (missing === undefined || missing === false) return describe
  if (mustRun(need)) throw new Error(`DBBAK_TESTS_MUST_RUN names ${need}, but: ${missing}`)
  return (name, tests) => describe.skip(`${name} [skipped, needs ${need}: ${missing}]`, tests)
}

function mustRun(need: Need): boolean {
  const names = (process.env.DBBAK_TESTS_MUST_RUN ?? '').split(',').map((name) => name.trim())
  return names.includes(need) || names.includes('all')
}
