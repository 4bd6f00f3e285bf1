import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {existsSync} from 'node:fs'
import {writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {ended, fixtureProgram, plainEnvironment, type FixtureProgram} from './fixture-program.js'

const secretFlags = `static flags = {
  store: Flags.string({env: 'FIXTURE_STORE'}),
  kind: Flags.string({env: 'FIXTURE_KIND', options: ['good', 'better']}),
  limit: Flags.integer({env: 'FIXTURE_LIMIT'}),
}`
const waitForEver = `process.stderr.write('ready\\n'); await delay(60_000, undefined, {signal: this.signal})`

let program: FixtureProgram
beforeAll(async () => {
  program = await fixtureProgram({
    works: {members: secretFlags, run: `this.log('done'); return {works: true, big: 2n ** 60n}`},
    fails: {
      members: 'static exitCodes = [6, 7]',
      run: `throw new DbbakError('RESTORE_FAILED', 'It failed on postgres://app:HUNTER2@h/db.', {
        suggestions: ['dbbak doctor', 'Ask postgres://app:HUNTER2@h'], cause: new Error('pg_restore: password=HUNTER2'),
        details: {document: {stages: ['preflight'], targetState: 'unchanged'}}})`,
    },
    depends: {run: `throw new DbbakError('SERVER_UNREACHABLE', 'No answer.').during(4)`},
    buggy: {run: `throw new TypeError('Invalid: ' + process.env.DATABASE_URL)`},
    crashes: {run: `setTimeout(() => { throw new RangeError('later') }, 10); await delay(60_000)`},
    unhealthy: {run: `process.exitCode = 10; return {healthy: false}`},
    big: {
      run: `const backups = Array.from({length: 60_000}, (_, id) => ({id, name: 'shop_' + id}))
      for (const {name} of backups) this.log(name)
      return {backups}`,
    },
    cleansSlowly: {
      run: `try { ${waitForEver} } catch { await delay(500); process.stderr.write('cleaned\\n'); throw this.signal.reason }`,
    },
    waits: {
      run: `try { ${waitForEver} } catch { process.stderr.write('cleaned\\n'); throw this.signal.reason }`,
    },
    echoes: {
      run: `try { ${waitForEver} } catch { throw new DbbakError('TOOL_FAILED', 'pg_dump was killed.',
      {details: {document: {partial: 1}}}) }`,
    },
    lost: {run: `try { ${waitForEver} } catch { throw new DbbakError('ROLLBACK_FAILED', 'Act now.') }`},
    stubborn: {run: `process.stderr.write('ready\\n'); await delay(60_000)`},
    asks: {
      run: `await askToType('RESTORE', 'This replaces shop.', {signal: this.signal}); this.log('went ahead')`,
    },
    offers: {run: `this.log('answer: ' + await askYesNo('Fetch it?', {signal: this.signal}))`},
    looks: {
      run: `const {databaseUrl, backupDir} = await this.settings(flags); return {databaseUrl, backupDir}`,
    },
    tells: {
      run: `const events = this.events(flags)
      await activity(events, 'Dumping shop', () => delay(1)); this.log('the result'); return {ok: 1}`,
    },
  })
})
afterAll(() => program.remove())

describe('exit codes and documents', () => {
  test('a result goes to stdout: as text, or with --json as one document', async () => {
    expect(await program.run(['works'])).toEqual({code: 0, stdout: 'done\n', stderr: ''})
    const {code, stdout, stderr} = await program.run(['works', '--json'])
    expect({code, stderr}).toEqual({code: 0, stderr: ''})
    expect(JSON.parse(stdout)).toEqual({works: true, big: String(2n ** 60n)})
  })

  test('an error is told on stderr with its code, causes and what to try', async () => {
    const {code, stdout, stderr} = await program.run(['fails'])
    expect({code, stdout}).toEqual({code: 6, stdout: ''})
    expect(stderr).toBe(
      [
        '✖ It failed on postgres://app:***@h/db.',
        '  Caused by: pg_restore: password=***',
        '  Code: RESTORE_FAILED (exit 6)',
        '',
        '  Try this:',
        '    dbbak doctor',
        '    Ask postgres://app:***@h',
        '',
      ].join('\n'),
    )
  })

  test('with --json the error is added to what the command found out, with the same exit code', async () => {
    const {code, stdout, stderr} = await program.run(['fails', '--json'])
    expect({code, stderr}).toEqual({code: 6, stderr: ''})
    expect(JSON.parse(stdout)).toEqual({
      stages: ['preflight'],
      targetState: 'unchanged',
      error: {
        code: 'RESTORE_FAILED',
        message: 'It failed on postgres://app:***@h/db.',
        suggestions: ['dbbak doctor', 'Ask postgres://app:***@h'],
        exitCode: 6,
        causes: ['pg_restore: password=***'],
      },
    })
  })

  test.each([['--json'], []])('the operation decides where the code leaves it open (%s)', async (...args) => {
    expect((await program.run(['depends', ...args])).code).toBe(4)
  })

  test.each([['--json'], []])('a command may end with an exit code and a result (%s)', async (...args) => {
    expect((await program.run(['unhealthy', ...args])).code).toBe(10)
  })

  test('a bug says so, with its stack and without secrets', async () => {
    const env = {DATABASE_URL: 'postgres://app:HUNTER2@h/db'}
    const text = await program.run(['buggy'], {env})
    expect(text.code).toBe(1)
    expect(text.stderr).toMatch(
      /Code: INTERNAL \(exit 1\)[\s\S]*TypeError[\s\S]*at Fixture\.run[\s\S]*This is a bug in dbbak/,
    )
    const json = await program.run(['buggy', '--json'], {env})
    expect(json.code).toBe(1)
    expect(JSON.parse(json.stdout).error).toMatchObject({code: 'INTERNAL', exitCode: 1})
    expect(json.stderr).toContain('at Fixture.run')
    for (const output of [text.stderr, json.stdout, json.stderr]) expect(output).not.toContain('HUNTER2')
  })

  test('an error that nobody waited for is a bug too, not a half document', async () => {
    const {code, stdout} = await program.run(['crashes', '--json'])
    expect(code).toBe(1)
    expect(JSON.parse(stdout).error).toMatchObject({code: 'INTERNAL', message: 'later'})
  })
})

describe('wrong usage', () => {
  test.each([
    [['works', '--stroe', 'x'], 'There is no option --stroe.', 'Did you mean --store?'],
    [['works', '--limit', 'many'], '--limit: Expected an integer but received: many.', 'dbbak works --help'],
    [['works', 'surplus'], 'Unexpected argument: surplus.', 'dbbak works --help'],
    [['wroks'], 'There is no command "wroks".', 'dbbak works'],
    [['--json', 'works'], 'The command comes first, then its options.', 'dbbak --help'],
  ])('%j exits 2 and says what is wrong', async (args, message, suggestion) => {
    const text = await program.run(args.filter((arg) => arg !== '--json' || args[0] === arg))
    const json = await program.run([...args, '--json'])
    expect([text.code, json.code]).toEqual([2, 2])
    expect(JSON.parse(json.stdout).error).toMatchObject({code: 'OPTION_INVALID', message, exitCode: 2})
    expect(JSON.parse(json.stdout).error.suggestions).toContain(suggestion)
    expect(json.stdout.split('\n').length).toBeLessThan(14) // oclif's own would print argv, flags and the whole config
  })

  test.each([
    [['works', '--bogus'], {FIXTURE_STORE: 'postgres://u:HUNTER2@h'}],
    [['works', '--bogus=postgres://u:HUNTER2@h'], {}],
    [['works', 'postgres://u:HUN/TER2@HUNTER2@h'], {}],
    [['works'], {FIXTURE_KIND: 'HUNTER2'}],
    [['works'], {FIXTURE_LIMIT: 'HUNTER2'}],
    [['postgres://u:HUNTER2@h'], {}],
  ])('no secret is shown for %j with %j', async (args, env) => {
    for (const more of [[], ['--json']]) {
      const {code, stdout, stderr} = await program.run([...args, ...more], {env})
      expect(code).toBe(2)
      expect(stdout + stderr).not.toContain('HUNTER2')
    }
  })

  test('a value from the environment is named instead', async () => {
    const {stderr} = await program.run(['works'], {env: {FIXTURE_KIND: 'worse'}})
    expect(stderr).toContain('Expected --kind=$FIXTURE_KIND to be one of: good, better')
  })
})

describe('Ctrl-C and SIGTERM', () => {
  const signalled = async (command: string, args: string[], signals: [NodeJS.Signals, number][]) => {
    const child = program.start([command, ...args])
    const end = ended(child)
    await new Promise<void>((resolve) =>
      child.stderr!.on('data', (text: string) => text.includes('ready') && resolve()),
    )
    for (const [signal, pauseMs] of signals) {
      child.kill(signal)
      await delay(pauseMs)
    }
    return end
  }

  test.each([
    ['SIGINT' as const, 130, 'INTERRUPTED'],
    ['SIGTERM' as const, 143, 'TERMINATED'],
    ['SIGHUP' as const, 143, 'TERMINATED'],
  ])('%s lets the command clean up and exits %i', async (signal, exitCode, code) => {
    const {code: actual, stderr} = await signalled('waits', [], [[signal, 0]])
    expect(actual).toBe(exitCode)
    expect(stderr).toMatch(
      /^ready\n(Interrupted|Terminated|The terminal was closed): stopping and cleaning up\..*\ncleaned\n/,
    )
    expect(stderr).toContain(`Code: ${code} (exit ${exitCode})`)
  })

  test('under --json the document says so', async () => {
    const {code, stdout} = await signalled('waits', ['--json'], [['SIGTERM', 0]])
    expect(code).toBe(143)
    expect(JSON.parse(stdout).error).toMatchObject({code: 'TERMINATED', exitCode: 143})
  })

  test('what only fails because it was stopped counts as interrupted, and keeps its findings', async () => {
    const {code, stdout} = await signalled('echoes', ['--json'], [['SIGINT', 0]])
    expect(code).toBe(130)
    expect(JSON.parse(stdout)).toMatchObject({partial: 1, error: {code: 'INTERRUPTED'}})
  })

  test('a rollback that failed stays what it is', async () => {
    expect((await signalled('lost', [], [['SIGINT', 0]])).code).toBe(7)
  })

  test('the second Ctrl-C ends a command that does not stop', async () => {
    expect(
      (
        await signalled(
          'stubborn',
          [],
          [
            ['SIGINT', 1000],
            ['SIGINT', 0],
          ],
        )
      ).code,
    ).toBe(130)
  })

  test('a Ctrl-C that npm passes on once more is not a second one', async () => {
    const {code, stderr} = await signalled(
      'cleansSlowly',
      [],
      [
        ['SIGINT', 20],
        ['SIGINT', 0],
      ],
    )
    expect(code).toBe(130)
    expect(stderr).toContain('cleaned')
  })
})

describe('pipes', () => {
  test('a reader that went away ends nothing noisily', async () => {
    const child = program.start(['big'])
    let stderr = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.stdout!.once('data', () => child.stdout!.destroy())
    const [code] = await once(child, 'exit')
    expect({code, stderr}).toEqual({code: 0, stderr: ''})
  })

  test('a document arrives whole, however slow the reader', async () => {
    const child = program.start(['big', '--json'])
    let text = ''
    for await (const chunk of child.stdout!.setEncoding('utf8')) {
      if (text.length < 500_000) await delay(20)
      text += chunk as string
    }
    expect(JSON.parse(text).backups).toHaveLength(60_000)
  })

  test('progress goes to stderr, and --quiet has none', async () => {
    const {stdout, stderr} = await program.run(['tells', '--json'])
    expect(JSON.parse(stdout)).toEqual({ok: 1})
    expect(stderr).toMatch(/^✔ Dumping shop +\d+ ms\n$/)
    expect(await program.run(['tells', '--quiet'])).toEqual({code: 0, stdout: 'the result\n', stderr: ''})
  })

  test('colours are only for terminals, unless FORCE_COLOR asks; NO_COLOR and --no-color turn them off', async () => {
    const escape = '\u001b['
    expect((await program.run(['tells'])).stderr).not.toContain(escape)
    expect((await program.run(['tells'], {env: {FORCE_COLOR: '1'}})).stderr).toContain(escape)
    expect((await program.run(['tells', '--no-color'], {env: {FORCE_COLOR: '1'}})).stderr).not.toContain(
      escape,
    )
  })
})

describe('questions', () => {
  test('without a terminal nothing is asked: a confirmation is refused with the flag that gives it', async () => {
    for (const args of [['asks'], ['asks', '--json']]) {
      const child = program.start(args)
      child.stdin!.end('RESTORE\n')
      const {code, stdout, stderr} = await ended(child)
      expect(code).toBe(2)
      expect(stdout + stderr).toContain('CONFIRMATION_REQUIRED')
      expect(stdout + stderr).toContain('--force')
      expect(stdout).not.toContain('went ahead')
    }
  })

  test('without a terminal a yes-or-no question is answered no', async () => {
    const child = program.start(['offers'])
    child.stdin!.end('y\n')
    expect(await ended(child)).toMatchObject({code: 0, stdout: 'answer: false\n'})
  })

  const hasTerminals = process.platform === 'linux' && existsSync('/usr/bin/script')
  const onTerminal = hasTerminals ? test : test.skip

  onTerminal.each([
    ['asks', 'RESTORE\r', 0, 'went ahead'],
    ['asks', 'restore\r', 130, 'Cancelled; nothing was changed.'],
    ['asks', '\r', 130, 'CANCELLED'],
    ['asks', '\u0003', 130, 'CANCELLED'],
    ['offers', 'y\r', 0, 'answer: true'],
    ['offers', '\r', 0, 'answer: false'],
  ])('on a terminal %s with %j exits %i', async (command, typed, exitCode, said) => {
    const {code, stdout} = await onNewTerminal(command, typed)
    expect(stdout).toContain(said)
    expect(code).toBe(exitCode)
  })

  /** util-linux's script gives the program a terminal whose keys are what we write. */
  async function onNewTerminal(command: string, typed: string) {
    const line = `'${process.execPath}' '${program.bin}' ${command}`
    const child = spawn('/usr/bin/script', ['-qec', line, '/dev/null'], {
      env: {...plainEnvironment(), TERM: 'xterm'},
    })
    const end = ended(child)
    await new Promise<void>((resolve) =>
      child.stdout.on('data', (text: string) => text.includes('?') && resolve()),
    )
    await delay(200) // the prompt is drawn before it reads keys
    child.stdin.write(typed)
    const result = await end
    child.stdin.destroy()
    return result
  }
})

describe('settings and help', () => {
  test('a command sees what is set, and where', async () => {
    await writeFile(join(program.folder, 'own.yaml'), 'backupDir: /mnt/backups\n')
    const {stdout} = await program.run(['looks', '--config', 'own.yaml', '--json'], {
      env: {DATABASE_URL: 'postgres://h/db'},
    })
    expect(JSON.parse(stdout)).toEqual({
      databaseUrl: {value: 'postgres://h/db', source: 'DATABASE_URL'},
      backupDir: {value: '/mnt/backups', source: 'own.yaml'},
    })
  })

  test('a config file that is missing is a wrong configuration', async () => {
    const {code, stderr} = await program.run(['looks', '--config', 'missing.yaml'])
    expect(code).toBe(2)
    expect(stderr).toContain('CONFIG_INVALID')
  })

  test.each([[['fails', '--help']], [['help', 'fails']]])(
    '%j explains the exit codes and the shared options',
    async (args) => {
      const {code, stdout} = await program.run(args)
      expect(code).toBe(0)
      expect(stdout).toContain('EXIT STATUS')
      expect(stdout).toMatch(/ {2}6 {2}restore failed; the target is as it was before\n/)
      expect(stdout).toMatch(/130 {2}interrupted by Ctrl-C/)
      for (const flag of ['--json', '--quiet', '--verbose', '--config=FILE']) expect(stdout).toContain(flag)
    },
  )
})
