import {mkdtemp, readdir, readFile, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {afterAll, beforeAll, beforeEach, expect, test} from '@jest/globals'
import {startDbbak, type Ended, type RunningProgram} from '../e2e/program.js'
import {until} from '../support/processes.js'
import {openRestorePlace, type RestorePlace, type State} from '../support/restore-place.js'

/** Of each kind of fault; DBBAK_KILL_RUNS=50 for the long version. */
const runs = Number(process.env.DBBAK_KILL_RUNS ?? 6)
const timeoutMs = 120_000 + runs * 30_000

let place: RestorePlace
let folder: string
let env: Record<string, string>
/** An undisturbed restore of each format, from the command to its end. */
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
    const start = performance.now()
    const {exitCode, stderr} = await startRestore(format).ended
    expect({exitCode, stderr}).toMatchObject({exitCode: 0})
    durationMs[format] = performance.now() - start
    expect(await place.state()).toBe('backup')
    await place.resetTarget()
  }
}, 300_000)
afterAll(async () => {
  await place.end()
  await rm(folder, {recursive: true, force: true})
})
beforeEach(async () => {
  if ((await place.state()) !== 'former') await place.resetTarget()
})

function startRestore(format: Format): RunningProgram {
  const args = ['--latest', '--from', backups(format), '--force', '--no-safety-backup', '--verify', '--json']
  return startDbbak(['restore', ...args], {env})
}

interface Fault {
  /** Exit codes that it may lead to, besides 0. */
  exitCodes: (number | null)[]
  /** @returns whether the restore was hit */
  strike: (running: RunningProgram) => Promise<boolean>
  /** Of this format only, and at a moment that it chooses itself. */
  format?: Format
}

/** Runs restores, each with its fault at a random moment, and holds each to the promise. */
async function holds(what: string, {exitCodes, strike, format: only}: Fault): Promise<void> {
  const tally: Record<string, number> = {}
  let hits = 0
  for (let run = 0; run < runs; run++) {
    const format = only ?? formats[run % formats.length]
    const running = startRestore(format)
    if (only === undefined) {
      const moment = run % 3 === 0 ? nearTheCommit(running) : anyTime(running, format)
      await Promise.race([moment, running.ended])
    }
    if (await strike(running)) hits++
    const ended = await running.ended
    await until(nothingIsLeft, 'no process, folder, session or lock is left')
    const state = await place.state()
    expectPromiseKept(ended, state, [0, ...exitCodes])
    const outcome = `exit ${ended.exitCode ?? ended.signal}, ${state}`
    tally[outcome] = (tally[outcome] ?? 0) + 1
    if (state !== 'former') await place.resetTarget()
  }
  if (process.env.DBBAK_KILL_RUNS) process.stderr.write(`${what}: ${hits} hits, ${JSON.stringify(tally)}\n`)
  expect(hits).toBeGreaterThan(runs / 4)
  const {exitCode} = await startRestore(only ?? 'custom').ended
  expect({exitCode, state: await place.state()}).toEqual({exitCode: 0, state: 'backup'})
}

const anyTime = (_: RunningProgram, format: Format) =>
  delay(durationMs[format] * (0.1 + 0.85 * Math.random()))

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

test.each([
  ['SIGKILL', [null]],
  // Without an exit code where it comes before the program has begun to listen.
  ['SIGTERM', [143, null]],
  ['SIGINT', [130, null]],
] as [NodeJS.Signals, (number | null)[]][])(
  'dbbak is ended by %s',
  (signal, exitCodes) =>
    holds(`dbbak ${signal}`, {
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
      format,
      exitCodes: [6],
      async strike(running) {
        // The one that is lent the session, and not the one that only reads the archive.
        const isRestoring = (environment: string, name: string) =>
          name === tool && environment.includes('\0PGHOST=')
        while (!hasEnded(running)) {
          const [pid] = await toolsOf(isRestoring)
          if (pid !== undefined) {
            await delay(Math.random() * durationMs[format] * 0.3)
            return killed(pid)
          }
        }
        return false
      },
    }),
  timeoutMs,
)

function killed(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false // it was faster
  }
}

const restoreSessions = `from pg_stat_activity where datname = 'target' and application_name = 'dbbak restore'`

test(
  'the server’s process is ended by its administrator',
  () =>
    holds('backend, pg_terminate_backend', {
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
