import {afterEach, describe, expect, test} from '@jest/globals'
import {needs} from '../support/needs.js'

describe('needs', () => {
  const before = process.env.DBBAK_TESTS_MUST_RUN
  afterEach(() => {
    if (before === undefined) delete process.env.DBBAK_TESTS_MUST_RUN
    else process.env.DBBAK_TESTS_MUST_RUN = before
  })

  test('a need that is met runs its tests', () => {
    expect(needs('docker', undefined)).toBe(describe)
    expect(needs('docker', false)).toBe(describe)
  })

  test('a need that must be met and is not is an error that says why', () => {
    process.env.DBBAK_TESTS_MUST_RUN = 'tmpfs, docker'
    expect(() => needs('docker', 'no docker here')).toThrow(
      'DBBAK_TESTS_MUST_RUN names docker, but: no docker here',
    )
  })

  test('the other needs may be missing', () => {
    process.env.DBBAK_TESTS_MUST_RUN = 'tmpfs'
    expect(needs('docker', 'no docker here')).not.toBe(describe)
  })
})
