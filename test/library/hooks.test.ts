import {afterEach, beforeEach, describe, expect, jest, test} from '@jest/globals'
import {existsSync} from 'node:fs'
import {mkdtemp, readFile, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import type {Events} from '../../src/engine/events.js'
import {
  withHooks,
  type HookContext,
  type HookFacts,
  type HookedKind,
  type HooksConfig,
} from '../../src/library/hooks.js'
import {runHook} from '../../src/library/run-hook.js'
import {DbbakError} from '../../src/support/errors.js'
import {isAlive, until} from '../support/processes.js'

let folder: string
let warnings: {code: string; message: string}[]
let details: string[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hooks-'))
  warnings = []
  details = []
})
afterEach(() => rm(folder, {recursive: true, force: true}))

const events: Events = {
  warning: (warning) => void warnings.push(warning),
  detail: (detail) => void details.push(detail),
}
const context = (hooks: HooksConfig, changes: Partial<HookContext> = {}): HookContext => ({
  env: {PATH: process.env.PATH, DATABASE_PASSWORD: 'hunter2'},
  cwd: folder,
  hooks,
  events,
  signal: new AbortController().signal,
  ...changes,
})
const written = (name: string) => readFile(join(folder, name), 'utf8')
const pidIn = async (name: string) => {
  await until(() => existsSync(join(folder, name)), `${name} is written`)
  await until(async () => (await written(name)).endsWith('\n'), `${name} is whole`)
  return Number(await written(name))
}

const facts = {
  database: {host: 'db.internal', name: 'shop'},
  destinations: ['/mnt/a', 's3://b'],
}
const result = {backup: {id: 'shop_1', database: {name: 'shop', host: 'db.internal'}}, bytes: 1}
const work = async () => result
const failing = () =>
  Promise.reject(
    new DbbakError('DUMP_FAILED', 'It broke.', {suggestions: ['Mend it'], details: {document: {bytes: 2}}}),
  )

/** Work that begins at once. */
const around = <T>(
  kind: HookedKind,
  where: HookContext,
  about: HookFacts<T>,
  operation: () => Promise<T>,
): Promise<T> =>
  withHooks(kind, where, about, async (begin) => {
    await begin()
    return operation()
  })

describe('hooks around a backup', () => {
  test('run before and after it, and are told what it is about and what became of it', async () => {
    const hooks = {
      beforeBackup: 'env | grep ^DBBAK_ | sort > before; cat > before-input',
      afterBackup: 'env | grep ^DBBAK_ | sort > after; cat > after-input',
    }
    const done = await around('backup', context(hooks), facts, async () => {
      expect(existsSync(join(folder, 'before-input'))).toBe(true)
      expect(existsSync(join(folder, 'after'))).toBe(false)
      return result
    })
    expect(done).toBe(result)
    const common = [
      'DBBAK_DATABASE=shop',
      'DBBAK_DESTINATIONS=/mnt/a',
      'DBBAK_EVENT=backup',
      'DBBAK_HOOK=beforeBackup',
      'DBBAK_HOST=db.internal',
    ]
    expect((await written('before')).trim().split('\n')).toEqual(common)
    expect(await written('before-input')).toBe('')
    expect((await written('after')).trim().split('\n')).toEqual([
      'DBBAK_BACKUP_ID=shop_1',
      ...common.slice(0, 3),
      'DBBAK_HOOK=afterBackup',
      'DBBAK_HOST=db.internal',
      'DBBAK_OUTCOME=success',
    ])
    expect(JSON.parse(await written('after-input'))).toEqual(result)
    expect(warnings).toEqual([])
  })

  test('of a list are run without a shell', async () => {
    const program = 'require("fs").writeFileSync("arguments", JSON.stringify(process.argv.slice(1)))'
    await around(
      'backup',
      context({beforeBackup: [process.execPath, '-e', program, '$HOME; exit 1']}),
      facts,
      work,
    )
    expect(JSON.parse(await written('arguments'))).toEqual(['$HOME; exit 1'])
  })

  test('get no password that is not in the environment anyway', async () => {
    await around('backup', context({beforeBackup: 'env > all'}), facts, work)
    expect(await written('all')).not.toContain('DATABASE_URL')
  })

  test('say what they say to those who want to know, and without what is secret', async () => {
    const command = 'echo to stdout; echo to stderr with hunter2 >&2; printf "no line end"'
    await around('backup', context({beforeBackup: command}), facts, work)
    expect(details.sort()).toEqual([
      'beforeBackup: begins',
      'beforeBackup: no line end',
      'beforeBackup: to stderr with ***',
      'beforeBackup: to stdout',
    ])
  })

  test('do not run in a rehearsal', async () => {
    const hooks = {beforeBackup: 'exit 1', afterBackup: 'touch after'}
    expect(await around('backup', context(hooks), {...facts, dryRun: true}, work)).toBe(result)
    expect(existsSync(join(folder, 'after'))).toBe(false)
  })
})

describe('a hook before that fails', () => {
  test.each([
    ['backup', 'beforeBackup', 'afterBackup', 4],
    ['restore', 'beforeRestore', 'afterRestore', 3],
  ] as const)('stops the %s before anything is done', async (kind, before, after, exitCode) => {
    let began = false
    const hooks = {
      [before]: 'echo first; echo hunter2 is not mounted. >&2; exit 7',
      [after]: 'echo $DBBAK_OUTCOME $DBBAK_ERROR_CODE > after',
    }
    const running = around(kind, context(hooks), facts, async () => void (began = true))
    await expect(running).rejects.toMatchObject({
      code: 'HOOK_FAILED',
      exitCode,
      message: `The ${kind} was not begun: the hook ${before} ended with exit code 7: *** is not mounted.`,
      suggestions: [
        `See what it says: dbbak ${kind} --verbose`,
        `Mend the command at hooks.${before} in the config file, or remove it`,
      ],
    })
    expect(began).toBe(false)
    expect(await written('after')).toBe('failure HOOK_FAILED\n') // it may have come half the way
  })

  test.each([
    ['by a signal', 'kill -KILL $$', 'was killed by SIGKILL'],
    ['because it is not there', ['/no/such/program'], 'could not be started (ENOENT)'],
    ['because it is below a file', [`${process.execPath}/hook`], 'could not be started (ENOTDIR)'],
    ['because of what no argument holds', ['true', 'a\0b'], 'could not be started (ERR_INVALID_ARG_VALUE)'],
    ['because the shell does not find it', 'no-such-program-anywhere', 'ended with exit code 127'],
  ])('%s says so', async (_, command, words) => {
    await expect(around('backup', context({beforeBackup: command}), facts, work)).rejects.toMatchObject({
      code: 'HOOK_FAILED',
      message: expect.stringContaining(words),
    })
  })

  test('by taking too long is ended with everything that it started', async () => {
    const run = 'sleep 1000 & echo $! > child; echo waiting; wait'
    const hooks = {beforeBackup: {run, timeout: '2s'}}
    await expect(around('backup', context(hooks), facts, work)).rejects.toMatchObject({
      code: 'HOOK_FAILED',
      message:
        'The backup was not begun: the hook beforeBackup was ended after 2 s, its time limit: waiting.',
    })
    expect(isAlive(await pidIn('child'))).toBe(false)
  })

  test('by an impossible time limit is found before anything is done, also of the hook after', async () => {
    let began = false
    const hooks = {afterBackup: {run: 'true', timeout: 'soon'}}
    const running = around('backup', context(hooks), facts, async () => void (began = true))
    await expect(running).rejects.toMatchObject({code: 'CONFIG_INVALID', exitCode: 2})
    expect(began).toBe(false)
  })
})

describe('a hook after', () => {
  test('runs after a failure, with the error and what is known; the error stays as it is', async () => {
    const hooks = {afterBackup: 'env | grep ^DBBAK_ > after; cat > input; exit 3'}
    await expect(around('backup', context(hooks), facts, failing)).rejects.toMatchObject({
      code: 'DUMP_FAILED',
    })
    expect((await written('after')).split('\n')).toEqual(
      expect.arrayContaining(['DBBAK_OUTCOME=failure', 'DBBAK_ERROR_CODE=DUMP_FAILED']),
    )
    expect(JSON.parse(await written('input'))).toEqual({
      bytes: 2,
      error: {code: 'DUMP_FAILED', message: 'It broke.', suggestions: ['Mend it'], exitCode: 4},
    })
  })

  test('is told of a result that counts as failed', async () => {
    const hooks = {afterBackup: 'echo $DBBAK_OUTCOME $DBBAK_ERROR_CODE > after'}
    const failure = () => new DbbakError('VERIFICATION_FAILED', 'It is damaged.')
    expect(await around('backup', context(hooks), {...facts, failure}, work)).toBe(result)
    expect(await written('after')).toBe('failure VERIFICATION_FAILED\n')
  })

  test('that fails is a warning', async () => {
    expect(await around('backup', context({afterBackup: 'echo no >&2; exit 3'}), facts, work)).toBe(result)
    expect(warnings).toEqual([
      {code: 'HOOK_FAILED', message: 'The hook afterBackup ended with exit code 3: no.'},
    ])
  })

  test('of a restore is told the database of the target', async () => {
    const target = {host: 'db', port: 5432, database: 'copy'}
    const hooks = {afterRestore: 'echo $DBBAK_EVENT $DBBAK_HOST $DBBAK_DATABASE $DBBAK_BACKUP_ID > after'}
    await around('restore', context(hooks), {}, async () => ({backup: {id: 'shop_1'}, target}))
    expect(await written('after')).toBe('restore db copy shop_1\n')
  })

  test.each([
    ['does not read', 'exec <&-; touch after'],
    ['ends at once', ':'],
    ['reads a little', 'head -c 10 > after'],
  ])('that %s of a large result does not matter', async (_, command) => {
    const large = {...result, text: 'x'.repeat(5_000_000)}
    expect(await around('backup', context({afterBackup: command}), facts, async () => large)).toBe(large)
    expect(warnings).toEqual([])
  })

  test('that leaves something running which holds its output open is not waited for, and leaves it running', async () => {
    const startMs = performance.now()
    const command = 'sleep 1000 & echo $! > child; echo done'
    await around('backup', context({afterBackup: command}), facts, work)
    expect(performance.now() - startMs).toBeLessThan(60_000)
    const pid = await pidIn('child')
    expect(isAlive(pid)).toBe(true)
    process.kill(pid, 'SIGKILL')
    expect(details).toContain('afterBackup: done')
    expect(warnings).toEqual([])
  })
})

test('no hook runs where the work never begins, and the one after it hears of what is known by then', async () => {
  const hooks = {beforeRestore: 'touch before', afterRestore: 'echo $DBBAK_BACKUP_ID > after'}
  const no = new DbbakError('CANCELLED', 'Nothing was changed.')
  await expect(withHooks('restore', context(hooks), facts, () => Promise.reject(no))).rejects.toBe(no)
  expect(existsSync(join(folder, 'before')) || existsSync(join(folder, 'after'))).toBe(false)
  await withHooks('restore', context(hooks), facts, (begin) => begin({backupId: 'shop_2'}))
  expect(await written('after')).toBe('shop_2\n')
})

describe('an interruption', () => {
  const interrupted = new DbbakError('TERMINATED', 'Terminated.')

  test.each([
    ['that ends when asked', 'sleep 1000 & echo $! > child; wait'],
    [
      'that does not',
      "trap '' TERM; sh -c \"trap '' TERM; sleep 1000; sleep 1000\" & echo $! > child; wait; wait; sleep 1000",
    ],
  ])(
    'ends a hook %s, with everything that it started',
    async (_, command) => {
      const stop = new AbortController()
      let began = false
      const running = around(
        'backup',
        context({beforeBackup: command}, {signal: stop.signal}),
        facts,
        async () => {
          began = true
        },
      )
      const pid = await pidIn('child')
      stop.abort(interrupted)
      await expect(running).rejects.toBe(interrupted)
      await until(() => !isAlive(pid), 'what it started has ended')
      expect(began).toBe(false)
    },
    30_000,
  )

  test('of the work still lets the hook after it run: it may have something to undo', async () => {
    const stop = new AbortController()
    const hooks = {afterBackup: 'echo $DBBAK_OUTCOME $DBBAK_ERROR_CODE > after'}
    const running = around('backup', context(hooks, {signal: stop.signal}), facts, () => {
      stop.abort(interrupted)
      return failing()
    })
    await expect(running).rejects.toMatchObject({code: 'DUMP_FAILED'})
    expect(await written('after')).toBe('failure TERMINATED\n')
  })

  test('while the hook after runs ends it, and the result stays', async () => {
    const stop = new AbortController()
    const hooks = {afterBackup: 'echo $$ > child; sleep 1000'}
    const running = around('backup', context(hooks, {signal: stop.signal}), facts, work)
    await pidIn('child')
    stop.abort(interrupted)
    expect(await running).toBe(result)
    expect(warnings).toEqual([
      {code: 'HOOK_FAILED', message: 'The hook afterBackup was ended by the interruption.'},
    ])
  })
})

describe('the runner of hooks', () => {
  test('kills what does not end when asked, and does so in time', async () => {
    const startMs = performance.now()
    const ending = await runHook("trap '' TERM; echo $$ > pid; while :; do sleep 1; done", {
      env: {PATH: process.env.PATH},
      cwd: folder,
      timeoutMs: 2000,
      killAfterMs: 300,
      signal: new AbortController().signal,
    })
    expect(ending.how).toBe('timed-out')
    expect(performance.now() - startMs).toBeLessThan(30_000)
    expect(isAlive(await pidIn('pid'))).toBe(false)
  })

  test('leaves behind what cannot be ended, such as a program of another user', async () => {
    const spied = jest.spyOn(process, 'kill').mockImplementation(() => {
      throw Object.assign(new Error('kill EPERM'), {code: 'EPERM'})
    })
    const startMs = performance.now()
    try {
      const ending = await runHook('echo $$ > pid; echo waiting; exec sleep 60', {
        env: {PATH: process.env.PATH},
        cwd: folder,
        timeoutMs: 2000,
        killAfterMs: 300,
        signal: new AbortController().signal,
      })
      expect(ending).toEqual({how: 'timed-out', isLeft: true, lastLine: 'waiting'})
      expect(performance.now() - startMs).toBeLessThan(20_000)
    } finally {
      spied.mockRestore()
      process.kill(await pidIn('pid'), 'SIGKILL')
    }
  })

  test('hands on what was printed in lines, also very long ones', async () => {
    const lines: string[] = []
    await runHook('printf "a\\nb\\r\\n"; head -c 10000 /dev/zero | tr "\\0" x; echo; printf end', {
      env: {PATH: process.env.PATH},
      timeoutMs: 60_000,
      signal: new AbortController().signal,
      onLine: (line) => void lines.push(line),
    })
    expect(lines.slice(0, 2)).toEqual(['a', 'b'])
    expect(lines.at(-1)).toBe('end')
    expect(lines.every((line) => line.length <= 4000)).toBe(true)
  })
})
