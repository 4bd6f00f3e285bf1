import {mkdtemp, readdir, readFile, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {startDbbak, type Ended, type RunningProgram} from '../e2e/program.js'
import {until} from '../support/processes.js'
import {openRestorePlace, type RestorePlace, type State} from '../support/restore-place.js'

/** Of each kind of fault; DBBAK_KILL_RUNS=50 for the long version. */
const runs = Number(process.env.DBBAK_KILL_RUNS ?? 4)
const timeoutMs = 120_000 + runs * 30_000

let place: RestorePlace
let folder: string
let env: Record<string, string>
const strategies = ['swap', 'in-place'] as const
type Strategy = (typeof strategies)[number]
/** An undisturbed restore by each strategy, of each format, from the command to its end. */
const durationMs: Record<string, number> = {}
const formats = ['custom', 'plain', 'directory'] as const
type Format = (typeof formats)[number]
const backups = (format: Format) => join(place.folder, format)

beforeAll(async () => {
  place = await openRestorePlace({rows: 120_000})
  folder = await mkdtemp(join(tmpdir(), 'k-'))
  env = {DATABASE_URL: place.server.url('target'), TMPDIR: folder}
  for (const format of formats) {
    await place.backUp({format, to: [backups(format)]})
    for (const strategy of strategies) {
      const start = performance.now()
      const {exitCode, stderr} = await startRestore(strategy, format).ended
      expect({exitCode, stderr}).toMatchObject({exitCode: 0})
      durationMs[strategy + format] = performance.now() - start
      expect(await place.state()).toBe('backup')
      await place.resetTarget()
    }
  }
}, 300_000)
afterAll(async () => {
  await place.end()
  await rm(folder, {recursive: true, force: true})
})
beforeEach(async () => {
  if ((await place.state()) !== 'former') await place.resetTarget()
})

/** By swap with a safety backup, which is taken at the same time; in place it comes before everything else. */
function restoreArguments(strategy: Strategy, format: Format): string[] {
  const safety = strategy === 'swap' ? ['--safety-to', join(place.folder, 'safety')] : ['--no-safety-backup']
  return [
    'restore',
    '--latest',
    '--from',
    backups(format),
    '--strategy',
    strategy,
    '--verify',
    '--json',
    ...safety,
  ]
}

function startRestore(strategy: Strategy, format: Format): RunningProgram {
  return startDbbak([...restoreArguments(strategy, format), '--force'], {env})
}

/** What a swap made beside the target. */
async function besideTarget(): Promise<string[]> {
  const rows = await place.server.query<{name: string}>(
    `select datname as name from pg_database where datname like '%\\_dbbak\\_%' order by 1`,
  )
  return rows.map(({name}) => name)
}

/** What is left is of a name that the next run finds and tells; a run that could say so has said it itself. */
async function expectNamed(
  left: string[],
  strategy: Strategy,
  {signal, stdout, stderr}: Ended,
): Promise<void> {
  if (left.length === 0) return
  for (const name of left) expect(name).toMatch(/^target_dbbak_(old_)?[0-9a-f]{8}$/)
  if (signal === null) for (const name of left) expect(stdout + stderr).toContain(name)
  const next = await startDbbak([...restoreArguments(strategy, 'custom'), '--dry-run'], {env}).ended
  for (const name of left) expect(next.stdout).toContain(`DROP DATABASE \\"${name}\\"`)
  for (const name of left) await place.server.dropDatabase(name)
}

interface Fault {
  strategy: Strategy
  /** Exit codes that it may lead to, besides 0. */
  exitCodes: (number | null)[]
  /** @returns whether the restore was hit */
  strike: (running: RunningProgram) => Promise<boolean>
  /** Of this format only, and at a moment that it chooses itself. */
  format?: Format
}

/** Runs restores, each with its fault at a random moment, and holds each to the promise. */
async function holds(what: string, {strategy, exitCodes, strike, format: only}: Fault): Promise<void> {
  const tally: Record<string, number> = {}
  let hits = 0
  // A random moment may be one in which there is nothing to hit: more runs then, so that something is tried.
  for (let run = 0; run < runs || (hits <= runs / 4 && run < 3 * runs); run++) {
    const format = only ?? formats[run % formats.length]
    const running = startRestore(strategy, format)
    if (only === undefined) {
      const moment = run % 3 === 0 ? nearTheCommit(running) : anyTime(running, strategy + format)
      await Promise.race([moment, running.ended])
    }
    if (await strike(running)) hits++
    const ended = await running.ended
    await until(nothingIsLeft, 'no process, folder, session or lock is left')
    const state = await place.state()
    expectPromiseKept(ended, state, [0, ...exitCodes])
    const left = await besideTarget()
    await expectNamed(left, strategy, ended)
    const outcome = `exit ${ended.exitCode ?? ended.signal}, ${state}${left.length > 0 ? ', a named database left' : ''}`
    tally[outcome] = (tally[outcome] ?? 0) + 1
    if (state !== 'former') await place.resetTarget()
  }
  if (process.env.DBBAK_KILL_RUNS)
    process.stderr.write(`${strategy}, ${what}: ${hits} hits, ${JSON.stringify(tally)}\n`)
  expect(hits).toBeGreaterThan(runs / 4)
  const {exitCode} = await startRestore(strategy, only ?? 'custom').ended
  expect({exitCode, state: await place.state()}).toEqual({exitCode: 0, state: 'backup'})
}

const anyTime = (_: RunningProgram, kind: string) => delay(durationMs[kind] * (0.1 + 0.85 * Math.random()))

/** Some moment after the table checks have begun; the commit is their end. */
async function nearTheCommit({child}: RunningProgram): Promise<void> {
  await new Promise<void>((resolve) => {
    let said = ''
    child.stderr!.on('data', (text: string) => {
      said += text
      if (said.includes('6/7')) resolve()
    })
  })
  await delay(Math.random() * 60)
}

/** What the exit code and the document say is what pg_dump finds. */
function expectPromiseKept(
  {exitCode, signal, stdout, stderr}: Ended,
  state: State,
  allowed: (number | null)[],
): void {
  const seen = {exitCode, signal, state, stdout, stderr}
  expect({...seen, isAllowed: allowed.includes(exitCode)}).toEqual({...seen, isAllowed: true})
  expect(['former', 'backup']).toContain(state)
  if (signal !== null) return // killed: it could not say anything
  const document = JSON.parse(stdout) as {targetState?: string; error?: {message: string; exitCode: number}}
  if (exitCode === 0) {
    expect({...seen, state, says: document.targetState}).toEqual({...seen, state: 'backup', says: 'restored'})
    return
  }
  expect(document.error?.exitCode).toBe(exitCode)
  if (exitCode === 7) {
    expect(document.targetState).toBe('unknown')
    return
  }
  expect({...seen, state}).toEqual({...seen, state: 'former'})
  // A signal may come before there is anything to tell of.
  if (document.targetState === undefined) return
  expect(['unchanged', 'rolled-back']).toContain(document.targetState)
  const sentence = document.targetState === 'unchanged' ? /changed/ : /The target is as it was before\.$/
  if (exitCode !== 3) expect(document.error?.message).toMatch(sentence)
}

async function nothingIsLeft(): Promise<boolean> {
  if ((await readdir(folder)).length > 0 || (await toolsOf(() => true)).length > 0) return false
  if (!(await serverAnswers())) return false
  await place.quiet()
  return true
}

const serverAnswers = () =>
  place.server.query('select 1').then(
    () => true,
    () => false, // it recovers
  )

/** Processes that were started with our temporary folder. */
async function toolsOf(wanted: (environment: string, name: string) => boolean): Promise<number[]> {
  const found: number[] = []
  for (const pid of (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
    if (!environment.split('\0').includes(`TMPDIR=${folder}`)) continue
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
    if (wanted(environment, name.trim())) found.push(Number(pid))
  }
  return found
}

const hasEnded = ({child}: RunningProgram) => child.exitCode !== null || child.signalCode !== null

function killed(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false // it was faster
  }
}

/** Those of a restore: in the target, in its copy, and where databases are renamed from. */
const restoreSessions = `from pg_stat_activity where backend_type = 'client backend'
  and (application_name = 'dbbak restore' or datname like 'target\\_dbbak\\_%')`

describe.each(strategies)('by %s', (strategy) => {
  test.each([
    ['SIGKILL', [null]],
    // Without an exit code where it comes before the program has begun to listen.
    ['SIGTERM', [143, null]],
    ['SIGINT', [130, null]],
  ] as [NodeJS.Signals, (number | null)[]][])(
    'dbbak is ended by %s',
    (signal, exitCodes) =>
      holds(`dbbak ${signal}`, {
        strategy,
        exitCodes,
        strike: async (running) => !hasEnded(running) && running.child.kill(signal),
      }),
    timeoutMs,
  )

  test.each([
    ['pg_restore', 'custom'],
    ['pg_restore', 'directory'],
    ['psql', 'plain'],
  ] as [string, Format][])(
    '%s is killed, %s format',
    (tool, format) =>
      holds(`${tool} SIGKILL, ${format}`, {
        strategy,
        format,
        exitCodes: [6],
        async strike(running) {
          // The one that is lent the session, and not the one that only reads the archive.
          const isRestoring = (environment: string, name: string) =>
            name === tool && environment.includes('\0PGHOST=')
          // A swap runs several, one after the other and beside each other: whichever runs at that moment.
          let isTime: Promise<void> | undefined
          while (!hasEnded(running)) {
            const pids = await toolsOf(isRestoring)
            if (pids.length === 0) continue
            isTime ??= delay(Math.random() * durationMs[strategy + format] * 0.2)
            await isTime
            for (const pid of await toolsOf(isRestoring)) if (killed(pid)) return true
          }
          return false
        },
      }),
    timeoutMs,
  )

  test(
    'the server’s process is ended by its administrator',
    () =>
      holds('backend, pg_terminate_backend', {
        strategy,
        exitCodes: [3, 6],
        strike: async () =>
          (await place.server.query(`select pg_terminate_backend(pid) ${restoreSessions}`)).length > 0,
      }),
    timeoutMs,
  )

  test(
    'the server’s process is killed, so that the whole server recovers',
    () =>
      holds('backend, SIGKILL', {
        strategy,
        exitCodes: [3, 6],
        async strike() {
          const [session] = await place.server.query<{pid: number}>(`select pid ${restoreSessions}`)
          return session !== undefined && killed(session.pid)
        },
      }),
    timeoutMs,
  )

  test(
    'the whole server is killed and started again',
    () =>
      holds('server, SIGKILL', {
        strategy,
        exitCodes: [3, 6],
        async strike(running) {
          const isHit = !hasEnded(running)
          await place.server.kill('SIGKILL')
          await delay(Math.random() * 500)
          await place.server.start()
          return isHit
        },
      }),
    timeoutMs,
  )
})
