import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {
  DbbakError,
  diagnose,
  listBackups,
  takeBackup,
  verifyBackups,
  type RestoreResult,
} from '../../src/index.js'
import {startFaultProxy, type FaultProxy} from '../support/fault-proxy.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'

/** Cuts of each kind, spread evenly over the whole operation; DBBAK_CUT_RUNS=1000 for one at every piece that is sent. */
const runs = Number(process.env.DBBAK_CUT_RUNS ?? 5)
const timeoutMs = 120_000 + runs * 20_000

let place: RestorePlace
let proxy: FaultProxy
const formats = ['custom', 'plain', 'directory'] as const
type Format = (typeof formats)[number]
const backups = (format: Format) => join(place.folder, format)

beforeAll(async () => {
  place = await openRestorePlace({overTcp: true, rows: 500})
  for (const format of formats) await place.backUp({format, to: [backups(format)]})
}, 120_000)
afterAll(() => place.end())
beforeEach(async () => {
  proxy = await startFaultProxy(Number(new URL(place.server.url()).port))
})
afterEach(() => proxy.close())

/** Runs an operation once as it is (at 0), and then with a connection that is cut at one moment after the other. */
async function cutEverywhere<T>(
  operation: () => Promise<T>,
  holds: (at: number, outcome: T | DbbakError) => Promise<void>,
): Promise<void> {
  const tally: Record<string, number> = {}
  await holds(0, await operation())
  const pieces = proxy.clientPieces()
  const step = Math.max(1, pieces / runs)
  for (let at = 1 + Math.random() * (step - 1); at <= pieces; at += step) {
    proxy.heal()
    const piece = Math.round(at)
    void proxy.plan('cut', {afterPieces: piece})
    const outcome = await operation().catch((error: unknown) => {
      // Anything else is told as a bug of dbbak's.
      if (error instanceof DbbakError) return error
      throw new Error(`cut at piece ${piece} of ${pieces}`, {cause: error})
    })
    await holds(piece, outcome)
    const told = outcome instanceof DbbakError ? `${outcome.code} (${outcome.exitCode})` : 'done'
    tally[told] = (tally[told] ?? 0) + 1
  }
  if (process.env.DBBAK_CUT_RUNS)
    process.stderr.write(`${expect.getState().currentTestName}: ${pieces} pieces, ${JSON.stringify(tally)}\n`)
}

test.each(formats)(
  'a backup in the format %s that loses its server fails, or is whole',
  async (format) => {
    const folder = await mkdtemp(join(tmpdir(), 'cut-'))
    const options = {env: place.env, cwd: place.folder, to: [folder]}
    const databaseUrl = proxy.url(place.server.url('shop'))
    const list = async () => (await listBackups({...options, from: folder})).backups.length
    let before = 0
    await cutEverywhere(
      async () => {
        before = await list()
        await takeBackup({...options, databaseUrl, format})
      },
      async (at, outcome) => {
        const failed = outcome instanceof DbbakError
        expect({at, failed, more: (await list()) - before}).toEqual({at, failed, more: failed ? 0 : 1})
        if (failed && ![3, 4].includes(outcome.exitCode)) throw outcome
      },
    )
    await rm(folder, {recursive: true})
  },
  timeoutMs,
)

test.each(formats)(
  'a verification of the format %s that loses its test server says that it could not run, and not that the backup is bad',
  (format) =>
    cutEverywhere(
      () =>
        verifyBackups({
          env: place.env,
          cwd: place.folder,
          from: backups(format),
          latest: true,
          level: 'restore',
          testDatabaseUrl: proxy.url(place.server.url('postgres')),
        }),
      async (at, outcome) => {
        const verdict = outcome instanceof DbbakError ? outcome.code : outcome.results[0].verdict
        expect({at, verdict, outcome}).toEqual({
          at,
          verdict: at === 0 ? 'passed' : expect.stringMatching(/^(passed|could-not-run)$/),
          outcome,
        })
      },
    ),
  timeoutMs,
)

test(
  'a diagnosis that loses the server, or the test server, tells it as what it found',
  () =>
    cutEverywhere(
      () =>
        diagnose({
          env: place.env,
          cwd: place.folder,
          databaseUrl: proxy.url(place.server.url('shop')),
          testDatabaseUrl: proxy.url(place.server.url('postgres')),
        }),
      async (at, outcome) => {
        if (outcome instanceof DbbakError) throw outcome
        const told = outcome.checks.filter(({name}) => name.endsWith('database'))
        expect({at, count: told.length}).toEqual({at, count: 2})
      },
    ),
  timeoutMs,
)

describe.each(['swap', 'in-place'] as const)('a restore by %s', (strategy) => {
  test.each(formats)(
    'of the format %s that loses its server leaves what was there, and says so',
    async (format) => {
      const databaseUrl = proxy.url(place.server.url('target'))
      await cutEverywhere(
        async () => {
          await place.resetTarget()
          return place.restore({databaseUrl, strategy, from: backups(format)})
        },
        async (at, outcome) => {
          const {targetState} =
            outcome instanceof DbbakError ? (outcome.details?.document as RestoreResult) : outcome
          if (outcome instanceof DbbakError && ![3, 6].includes(outcome.exitCode)) throw outcome
          await place.quiet()
          const state = await place.state()
          const expected = outcome instanceof DbbakError ? 'former' : 'backup'
          expect({at, state, targetState}).toEqual({at, state: expected, targetState})
          const told = outcome instanceof DbbakError ? ['unchanged', 'rolled-back'] : ['restored']
          expect(told).toContain(targetState)
        },
      )
    },
    timeoutMs,
  )
})
