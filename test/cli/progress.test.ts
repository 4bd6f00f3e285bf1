import {afterEach, beforeEach, describe, expect, jest, test} from '@jest/globals'
import {mkdtemp, readFile, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {PassThrough} from 'node:stream'
import {setTimeout as delay} from 'node:timers/promises'
import {stripVTControlCharacters} from 'node:util'
import {narrate, type Watcher} from '../../src/cli/narrate.js'
import {gitHubScreen} from '../../src/cli/progress-github.js'
import {linesScreen} from '../../src/cli/progress-lines.js'
import {liveScreen} from '../../src/cli/progress-live.js'
import {watch} from '../../src/cli/watch.js'
import type {Failure} from '../../src/cli/failure.js'

/** A stream that remembers. */
function memory() {
  const stream = new PassThrough()
  let text = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  return {stream, lines: () => text.split('\n').slice(0, -1), text: () => text}
}

/** What a terminal's stream can do beyond that. */
function terminal() {
  const {stream, ...rest} = memory()
  const tty = Object.assign(stream, {isTTY: true, columns: 60, rows: 24})
  const methods = {
    cursorTo: () => true,
    clearLine: () => true,
    moveCursor: () => true,
    hasColors: () => false,
    getColorDepth: () => 1,
  }
  return {stream: Object.assign(tty, methods) as unknown as NodeJS.WriteStream, ...rest}
}

const failure: Failure = {
  code: 'DUMP_FAILED',
  message: 'pg_dump failed\nat 100%',
  suggestions: ['dbbak doctor'],
  exitCode: 4,
  causes: [],
}

let nowMs = 0
const clock = () => nowMs
/** Lets both the meters' clock and the timers run on. */
async function pass(milliseconds: number): Promise<void> {
  nowMs += milliseconds
  await jest.advanceTimersByTimeAsync(milliseconds)
}

beforeEach(() => {
  nowMs = 0
  jest.useFakeTimers()
})
afterEach(() => {
  jest.useRealTimers()
})

describe('in a log', () => {
  const open = (isVerbose = false) => {
    const screen = memory()
    return {...screen, events: narrate(linesScreen(screen.stream, {}), {isVerbose, nowMs: clock})}
  }

  test('a finished activity is one line with what it amounted to and how fast', () => {
    const {events, lines} = open()
    dump(events, 1_100_000_000, 9800)
    expect(lines()).toEqual(['✔ Dumping shop                      1.1 GB in 9.8 s, 112 MB/s'])
  })

  test('an activity with a result of its own tells that', () => {
    const {events, lines} = open()
    events.activityStarted?.('Counting rows')
    events.activityEnded?.('Counting rows', {ok: true, detail: '12 tables', durationMs: 40})
    expect(lines()).toEqual(['✔ Counting rows                     12 tables in 40 ms'])
  })

  test('a long activity says every few seconds how far it is, and stops saying so when it ends', async () => {
    const {events, lines} = open()
    events.activityStarted?.('Dumping shop')
    for (let second = 1; second <= 11; second++) {
      await pass(1000)
      events.activityProgress?.({bytes: second * 10_000_000, totalBytes: 200_000_000})
    }
    events.activityEnded?.('Dumping shop', {ok: false, durationMs: 11_000})
    await pass(60_000)
    expect(lines()).toHaveLength(3)
    expect(lines()[0]).toMatch(
      /^ {2}Dumping shop +\d+% {2}\d+\.0 MB of 200 MB {2}[\d.]+ MB\/s {2}\d+ s left$/,
    )
    expect(lines()[2]).toBe('✖ Dumping shop                      failed after 11.0 s')
  })

  test('a total that was passed is not shown any more', async () => {
    const {events, lines} = open()
    events.activityStarted?.('Dumping shop')
    events.activityProgress?.({bytes: 300_000_000, totalBytes: 200_000_000})
    await pass(5000)
    expect(lines()[0]).toContain('300 MB')
    expect(lines()[0]).not.toContain('%')
    expect(lines()[0]).not.toContain('left')
    events.close(undefined)
  })

  test('after a minute of the same thing the lines come less often', async () => {
    const {events, lines} = open()
    events.activityStarted?.('Dumping shop')
    await pass(60_000)
    const inTheFirstMinute = lines().length
    await pass(60_000)
    expect(inTheFirstMinute).toBe(12)
    expect(lines().length - inTheFirstMinute).toBe(2)
    events.close(undefined)
  })

  test('stages are numbered, and one that has something to tell gets a heading', () => {
    const {events, lines} = open()
    restore(events)
    expect(lines()).toEqual([
      '✔ 1/7 Preflight                     120 ms',
      '▸ 2/7 Verify',
      '  ✔ Reading shop.dump               1.0 MB in 1.0 s, 1.0 MB/s',
      '– 3/7 Confirm                       skipped: --force',
      '✖ 6/7 Table checks                  failed after 1.5 s: users has 3 rows, not 4',
      '– 7/7 Rollback                      not run',
    ])
  })

  test('details are for --verbose', () => {
    const [quiet, verbose] = [open(), open(true)]
    for (const {events} of [quiet, verbose]) events.detail?.('pg_dump 15.18\nin /usr/bin')
    expect(quiet.lines()).toEqual([])
    expect(verbose.lines().map((line) => line.trim())).toEqual(['pg_dump 15.18', 'in /usr/bin'])
  })

  test('no secret and no control character gets through', () => {
    const {events, text} = open(true)
    events.warning?.({code: 'X', message: 'postgres://app:HUNTER2@h/db is \u001b[2J slow'})
    events.detail?.('connecting to postgres://app:HUNTER2@h/db')
    events.stageEnded?.({name: 'verify', status: 'failed', reason: 'password=HUNTER2', durationMs: 1})
    expect(text()).toContain('app:***@h/db')
    expect(text()).not.toContain('HUNTER2')
    expect(text()).not.toContain('\u001b[2J')
  })
})

describe('under GitHub Actions', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dbbak-github-'))
  })
  afterEach(() => rm(folder, {recursive: true}))

  const open = () => {
    const screen = memory()
    const env = {GITHUB_STEP_SUMMARY: join(folder, 'summary.md')}
    const events = narrate(gitHubScreen(screen.stream, env, 'dbbak restore', clock), {
      isVerbose: false,
      nowMs: clock,
    })
    return {...screen, events, summary: () => readFile(env.GITHUB_STEP_SUMMARY, 'utf8')}
  }

  test('a stage with something to tell is a group that folds', () => {
    const {events, lines} = open()
    restore(events)
    expect(lines().slice(0, 5)).toEqual([
      '✔ 1/7 Preflight                     120 ms',
      '::group::2/7 Verify',
      '  ✔ Reading shop.dump               1.0 MB in 1.0 s, 1.0 MB/s',
      '::endgroup::',
      '✔ 2/7 Verify                        1.0 s',
    ])
  })

  test('warnings and the error are annotations, escaped as the runner wants it', () => {
    const {events, lines} = open()
    events.warning?.({code: 'CLOCK_SKEW', message: '50% off\n::error::forged'})
    events.close(failure)
    expect(lines()).toEqual([
      '::warning title=dbbak CLOCK_SKEW::50%25 off%0A::error::forged',
      '::error title=dbbak DUMP_FAILED::pg_dump failed%0Aat 100%25',
    ])
  })

  test('a name from a server cannot give the runner orders', () => {
    const {events, lines} = open()
    events.note('::add-mask::x')
    events.activityStarted?.('a\n::error::forged')
    events.activityEnded?.('a\n::error::forged', {ok: true, durationMs: 1})
    expect(lines().filter((line) => line.startsWith('::'))).toEqual([])
  })

  test('the job summary is a table of what was done, and names the error', async () => {
    const {events, summary} = open()
    restore(events)
    nowMs = 12_000
    events.close(failure)
    const text = await summary()
    expect(text).toContain('### dbbak restore: failed (DUMP_FAILED, exit 4) in 12.0 s')
    expect(text).toContain('| ✔ Reading shop.dump | 1.0 MB in 1.0 s, 1.0 MB/s |')
    expect(text).toContain('pg&#95;dump failed at 100%')
    expect(text).toContain('- dbbak doctor')
  })

  test('a summary that cannot be written does not make the command fail', () => {
    const {stream} = memory()
    const screen = gitHubScreen(
      stream,
      {GITHUB_STEP_SUMMARY: join(folder, 'missing', 'summary.md')},
      'dbbak list',
    )
    expect(() => screen.close(undefined)).not.toThrow()
  })
})

describe('on a terminal', () => {
  let opened: Watcher
  const open = () => {
    jest.useRealTimers() // ora has timers of its own
    const screen = terminal()
    opened = narrate(liveScreen(screen.stream, {}), {isVerbose: false})
    return {...screen, events: opened}
  }
  afterEach(() => opened.close(undefined)) // also when a test fails: a spinner would keep the process going

  test('what is under way moves on one line that fits, and what ended stays', async () => {
    const {events, text} = open()
    const name = `Dumping ${'x'.repeat(100)}`
    events.activityStarted?.(name)
    for (let i = 0; i < 100 && !text().includes('Dumping'); i++) await delay(50)
    expect(stripVTControlCharacters(text())).toMatch(/\S Dumping x{10,52}…/)
    events.activityEnded?.(name, {ok: true, durationMs: 5})
    events.close(undefined)
    expect(stripVTControlCharacters(text())).toContain(`✔ ${name}  5 ms\n`)
  })

  test('nothing moves while the user is asked, nor after the end', async () => {
    const {events, text} = open()
    events.activityStarted?.('Looking')
    for (let i = 0; i < 100 && !text().includes('Looking'); i++) await delay(50)
    events.activityEnded?.('Looking', {ok: true, durationMs: 5})
    events.stageStarted?.('confirm')
    const whileAsked = text()
    await delay(300)
    expect(text()).toBe(whileAsked)
    events.stageStarted?.('restore')
    events.close(undefined)
    const atTheEnd = text()
    await delay(300)
    expect(text()).toBe(atTheEnd)
  })
})

describe('which view is taken', () => {
  const chosen = (env: NodeJS.ProcessEnv, isTTY = false, isQuiet = false) => {
    const screen = isTTY ? terminal() : memory()
    const events = watch({
      isQuiet,
      isVerbose: false,
      title: 'dbbak x',
      env,
      stream: screen.stream as NodeJS.WriteStream,
    })
    events.warning?.({code: 'X', message: 'careful'})
    events.close(undefined)
    return screen.text()
  }

  test('GitHub Actions gets annotations, everything else a line', () => {
    expect(chosen({GITHUB_ACTIONS: 'true'})).toBe('::warning title=dbbak X::careful\n')
    expect(chosen({})).toBe('⚠ careful (X)\n')
    expect(chosen({}, true)).toBe('⚠ careful (X)\n')
  })

  test('--quiet gets nothing, under GitHub Actions too', () => {
    expect(chosen({}, true, true)).toBe('')
    expect(chosen({GITHUB_ACTIONS: 'true'}, false, true)).toBe('')
  })
})

function dump(events: Watcher, bytes: number, durationMs: number): void {
  events.activityStarted?.('Dumping shop')
  events.activityProgress?.({bytes})
  events.activityEnded?.('Dumping shop', {ok: true, durationMs})
}

function restore(events: Watcher): void {
  events.stageStarted?.('preflight')
  events.stageEnded?.({name: 'preflight', status: 'done', durationMs: 120})
  events.stageStarted?.('verify')
  events.activityStarted?.('Reading shop.dump')
  events.activityProgress?.({bytes: 1_000_000})
  events.activityEnded?.('Reading shop.dump', {ok: true, durationMs: 1000})
  events.stageEnded?.({name: 'verify', status: 'done', durationMs: 1000})
  events.stageEnded?.({name: 'confirm', status: 'skipped', reason: '--force', durationMs: 0})
  events.stageStarted?.('table-checks')
  events.stageEnded?.({
    name: 'table-checks',
    status: 'failed',
    reason: 'users has 3 rows, not 4',
    durationMs: 1500,
  })
  events.stageEnded?.({name: 'rollback', status: 'not-run', durationMs: 0})
}
