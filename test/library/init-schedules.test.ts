import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {CronJob} from 'kubernetes-models/batch/v1'
import {PersistentVolumeClaim} from 'kubernetes-models/v1'
import {spawn} from 'node:child_process'
import {mkdir, mkdtemp, readFile, rm, stat, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {parseAllDocuments} from 'yaml'
import {cronFile, cronInstallation} from '../../src/library/init/cron-file.js'
import {parseSchedule} from '../../src/library/init/cron.js'
import {dockerCommands, dockerFile, railwayFiles, railwayNotes} from '../../src/library/init/docker-files.js'
import {environmentFile} from '../../src/library/init/environment-text.js'
import {kubernetesFile, secretCommands} from '../../src/library/init/kubernetes-file.js'
import {imagePlaceholder, type InitPlan} from '../../src/library/init/plan.js'
import {systemdFiles} from '../../src/library/init/systemd-files.js'
import {variablesFor} from '../../src/library/init/variables.js'
import {outputOf, runCommand} from '../support/run-command.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'init-schedules-'))
})
afterEach(() => rm(folder, {recursive: true, force: true}))

const planOf = (changes: Partial<InitPlan> = {}): InitPlan => ({
  folder,
  repository: undefined,
  usesTestServer: false,
  destinations: ['./backups'],
  format: 'custom',
  keepDays: 30,
  schedule: parseSchedule('0 2 * * *'),
  serverMajor: 17,
  image: imagePlaceholder,
  version: '1.2.3',
  user: 'keeper',
  isRoot: false,
  nodeFolder: '/opt/node/bin',
  program: '/opt/node/bin/dbbak',
  isInstalled: true,
  ...changes,
})
const variablesOf = (plan: InitPlan) => variablesFor(plan, {})

const systemdIsHere = await runCommand('systemd-analyze', ['--version']).then(
  ({exitCode}) => exitCode === 0,
  () => false,
)
const describeSystemd = systemdIsHere ? describe : describe.skip

describe('the five fields of cron', () => {
  test.each([
    ['0 2 * * *', ['*-*-* 02:00:00 UTC'], 'every day at 02:00'],
    ['  5   *  * * * ', ['*-*-* *:05:00 UTC'], 'every hour, at minute 5'],
    ['*/15 * * * *', ['*-*-* *:00,15,30,45:00 UTC'], 'at "*/15 * * * *"'],
    ['30 1 * * mon-fri', ['Mon,Tue,Wed,Thu,Fri *-*-* 01:30:00 UTC'], /every Monday, .*Friday at 01:30/],
    ['0 3 * * 7', ['Sun *-*-* 03:00:00 UTC'], 'every Sunday at 03:00'],
    ['0 0 1,15 JAN *', ['*-01-01,15 00:00:00 UTC'], 'at "0 0 1,15 JAN *"'],
    ['0 4-8/2 * * *', ['*-*-* 04,06,08:00:00 UTC'], 'at "0 4-8/2 * * *"'],
    // cron runs on either of the two days where both are restricted
    ['0 5 13 * 5', ['*-*-13 05:00:00 UTC', 'Fri *-*-* 05:00:00 UTC'], 'at "0 5 13 * 5"'],
  ] as const)('%s', (text, onCalendar, words) => {
    const schedule = parseSchedule(text)
    expect(schedule.onCalendar).toEqual(onCalendar)
    if (typeof words === 'string') expect(schedule.words).toBe(words)
    else expect(schedule.words).toMatch(words)
  })

  test('Sunday is 0: GitHub and Kubernetes know no 7', () => {
    expect(parseSchedule('0 3 * * 7').cron).toBe('0 3 * * 0')
    expect(parseSchedule('0 3 * * 5-7').cron).toBe('0 3 * * 0,5,6')
    expect(parseSchedule('7 7 7 7 */7').cron).toBe('7 7 7 7 */7')
  })

  test.each([
    ['', /five fields .* has 0/],
    ['0 2 * *', /five fields .* has 4/],
    ['0 0 2 * * *', /five fields .* has 6/],
    ['60 2 * * *', /"60" as its minute: it goes from 0 to 59/],
    ['0 24 * * *', /"24" as its hour/],
    ['0 2 0 * *', /"0" as its day of the month/],
    ['0 2 * 13 *', /"13" as its month/],
    ['0 2 * * 8', /"8" as its day of the week/],
    ['0 2 * * L', /"L" as its day of the week/],
    ['0 2 * * 5#2', /"5#2" as its day of the week: only numbers/],
    ['0 2 ? * *', /"\?" as its day/],
    ['5-1 2 * * *', /the range ends before it begins/],
    ['*/0 2 * * *', /a step is at least 1/],
    ['5/10 * * * *', /a step needs a range before it, such as 5-59\/10/],
    ['0 2 30 2 *', /never comes/],
    ['0 2 31 4,6 *', /never comes/],
    ['@daily', /"@daily" is not known to every scheduler/],
  ])('"%s" is refused, and a right one is named', (text, message) => {
    expect(() => parseSchedule(text)).toThrow(message)
    expect(() => parseSchedule(text)).toThrow(
      expect.objectContaining({
        code: 'OPTION_INVALID',
        suggestions: [expect.stringMatching(/^For example: dbbak init --schedule '[\d *]+'$/)],
      }),
    )
  })

  test('a day that comes in some of the months is one', () => {
    expect(() => parseSchedule('0 2 29 2 *')).not.toThrow()
    expect(() => parseSchedule('0 2 31 * *')).not.toThrow()
    expect(() => parseSchedule('0 2 30 2 1')).not.toThrow() // or every Monday
  })
})

describeSystemd('systemd', () => {
  /** Whether cron would run at a time; written anew, so as not to share a fault with the program. */
  function cronRunsAt(cron: string, time: Date): boolean {
    const has = (field: string, value: number, start: number): boolean =>
      field.split(',').some((item) => {
        const [range = '', step = '1'] = item.split('/')
        const [from, to = from] = range === '*' ? [String(start), '99'] : range.split('-')
        return value >= Number(from) && value <= Number(to) && (value - Number(from)) % Number(step) === 0
      })
    const [minute, hour, day, month, weekday] = cron.split(' ') as [string, string, string, string, string]
    const isDay = has(day, time.getUTCDate(), 1)
    const isWeekday = has(weekday, time.getUTCDay(), 0)
    const either = !day.startsWith('*') && !weekday.startsWith('*')
    return (
      has(minute, time.getUTCMinutes(), 0) &&
      has(hour, time.getUTCHours(), 0) &&
      has(month, time.getUTCMonth() + 1, 1) &&
      (either ? isDay || isWeekday : isDay && isWeekday)
    )
  }

  test.each([
    '0 2 * * *',
    '*/20 3-5 * * *',
    '30 1 * * 1-5',
    '0 5 13 * 5',
    '15 */6 1-7 2,8 *',
    '0 0 */10 * 1',
  ])('%s means the same to it as to cron', async (text) => {
    const {cron, onCalendar} = parseSchedule(text)
    const times: number[] = []
    for (const expression of onCalendar) {
      const args = ['calendar', '--iterations=12', '--base-time=2026-01-01 00:00:00 UTC', expression]
      const told = await outputOf('systemd-analyze', args, {env: {...process.env, TZ: 'UTC'}})
      for (const [, at] of told.matchAll(/(?:Next elapse|Iter\. #\d+|Iteration #\d+): \w+ (\S+ \S+) UTC/g))
        times.push(Date.parse(`${at.replace(' ', 'T')}Z`))
    }
    expect(times.length).toBeGreaterThanOrEqual(12)
    const lists = onCalendar.length
    const start = Date.parse('2026-01-01T00:00:00Z')
    // Of several expressions each gives its own next times: up to the nearest of their ends all are known.
    const end = lists === 1 ? Math.max(...times) : Math.min(times[11], times[23])
    const expected: number[] = []
    for (let at = start + 60_000; at <= end; at += 60_000)
      if (cronRunsAt(cron, new Date(at))) expected.push(at)
    expect([...new Set(times)].filter((time) => time <= end).sort((a, b) => a - b)).toEqual(expected)
  })

  test('the service and its timer are valid, and the service is closed off well', async () => {
    const plan = planOf({
      destinations: ['./backups', '/srv/over there/50%', 's3://bucket/shop'],
      folder: '/srv/db bak',
      user: 'root',
      isRoot: true,
      program: '/usr/bin/env', // one that is there
    })
    const paths: string[] = []
    for (const {path, text} of systemdFiles(plan)) {
      await writeFile(join(folder, path), text)
      paths.push(join(folder, path))
    }
    const {exitCode, stderr} = await runCommand('systemd-analyze', ['verify', ...paths])
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''})
    const security = await outputOf('systemd-analyze', ['security', '--offline=true', paths[0]])
    const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(security)?.[1])
    expect(exposure).toBeGreaterThan(0)
    expect(exposure).toBeLessThan(2)
  })

  test('a fault in a unit would be found', async () => {
    const path = join(folder, 'faulty.service')
    await writeFile(path, '[Service]\nType=oneshot\nExecStart=/nonexistent/dbbak\n')
    const {exitCode, stderr} = await runCommand('systemd-analyze', ['verify', path])
    expect(exitCode !== 0 || stderr !== '').toBe(true)
  })
})

describe('the service', () => {
  const serviceOf = (changes: Partial<InitPlan>) => systemdFiles(planOf(changes))[0].text

  test('may write its folders and nothing else, and names its secrets by a file', () => {
    const service = serviceOf({
      folder: '/srv/db',
      destinations: ['./backups', 's3://b/p', '/mnt/x'],
      isRoot: true,
    })
    expect(service.match(/^ReadWritePaths=.*$/gm)).toEqual([
      'ReadWritePaths="/srv/db/backups"',
      'ReadWritePaths="/mnt/x"',
    ])
    expect(service).toContain('\nEnvironmentFile=/srv/db/dbbak.env\n')
    expect(service).toContain('\nProtectHome=yes\n')
    expect(service.match(/^ExecStart=.*$/gm)).toEqual([
      'ExecStart="/opt/node/bin/dbbak" backup --verify auto --prune',
    ])
    expect(service).toContain('\nEnvironment="PATH=/opt/node/bin:/usr/local/bin:/usr/bin:/bin"\n')
    expect(service).toContain('\nRequiresMountsFor="/srv/db" "/srv/db/backups" "/mnt/x"\n')
    expect(service).toMatch(/^# OnFailure=/m)
  })

  test('of root has the folder for its home, and sees home folders only where it works in one', () => {
    const rootsOwn = serviceOf({folder: '/srv/db', isRoot: true})
    expect(rootsOwn).toContain('\nEnvironment="HOME=/srv/db"\n')
    expect(rootsOwn).toContain('ProtectHome=yes')
    for (const changes of [
      {folder: '/home/keeper/db'},
      {folder: '/srv/db', nodeFolder: '/home/keeper/.nvm/bin'},
      {folder: '/srv/db', program: '/home/keeper/dbbak'},
    ])
      expect(serviceOf({...changes, isRoot: true})).toContain('ProtectHome=read-only')
  })

  test('of somebody finds what is in their home, such as .pgpass and .aws', () => {
    const service = serviceOf({folder: '/srv/db'})
    expect(service).not.toMatch(/^Environment=.*HOME=/m) // systemd sets it
    expect(service).toContain('\nProtectHome=read-only\n')
  })

  test('sees temporary folders only where it works in one', () => {
    expect(serviceOf({folder: '/srv/db'})).toContain('\nPrivateTmp=yes\n')
    expect(serviceOf({folder: '/srv/db', destinations: ['/var/tmp/b']})).toContain('\nPrivateTmp=no\n')
  })

  test('a percent sign in a path is no specifier', () => {
    expect(serviceOf({folder: '/srv/100%h'})).toContain('WorkingDirectory=/srv/100%%h\n')
  })
})

describe("a crontab's line", () => {
  /** Runs the line as cron does: by sh, with the PATH of the crontab, % undone. */
  async function runLine(dbbak: string): Promise<{exitCode: number | null; stdout: string; stderr: string}> {
    const bin = join(folder, 'bin')
    await mkdir(bin, {recursive: true})
    await writeFile(join(bin, 'dbbak'), `#!/bin/sh\n${dbbak}\n`, {mode: 0o755})
    const plan = planOf({nodeFolder: bin, program: join(bin, 'dbbak')})
    const secrets = environmentFile(variablesOf(plan))
    await writeFile(
      join(folder, secrets.path),
      secrets.text.replace("DATABASE_URL=''", "DATABASE_URL='postgresql://u:p$w d@h/db'"),
      {mode: secrets.mode},
    )
    return runCommand('sh', ['-c', lineOf(cronFile(plan).text)], {env: {PATH: '/usr/bin:/bin'}, cwd: '/'})
  }

  function lineOf(crontab: string): string {
    const line = crontab.split('\n').find((text) => text.startsWith('0 2 * * * '))!
    return line.slice('0 2 * * * '.length).replaceAll('\\%', '%')
  }

  test('backs up and prunes with the secrets in the environment; says nothing, and logs', async () => {
    const run = await runLine('echo "$@ with $DATABASE_URL"; echo "$PATH" >&2')
    expect(run).toEqual({exitCode: 0, stdout: '', stderr: ''})
    expect(await readFile(join(folder, 'dbbak.log'), 'utf8')).toBe(
      `backup --verify auto --prune with postgresql://u:p$w d@h/db\n${join(folder, 'bin')}:/usr/local/bin:/usr/bin:/bin\n`,
    )
    expect((await stat(join(folder, 'dbbak.log'))).mode & 0o777).toBe(0o600)
  })

  test('a log that has grown makes room, once', async () => {
    const log = join(folder, 'dbbak.log')
    await writeFile(log, 'x'.repeat(2 ** 20 + 1))
    await runLine('echo first')
    await runLine('echo second')
    expect(await readFile(log, 'utf8')).toBe('first\nsecond\n')
    expect((await stat(`${log}.1`)).size).toBe(2 ** 20 + 1)
  })

  test('the step that installs it can be repeated; what else is in the crontab stays', async () => {
    const bin = join(folder, 'bin')
    const table = join(folder, 'table')
    await mkdir(bin)
    const crontab = `#!/bin/sh\nif [ "$1" = -l ]; then cat '${table}'; else cat > '${table}.new'; mv '${table}.new' '${table}'; fi\n`
    await writeFile(join(bin, 'crontab'), crontab, {mode: 0o755})
    const own = '5 5 * * * own\n'
    await writeFile(table, own)
    const install = async (plan: InitPlan) => {
      const {path, text} = cronFile(plan)
      await mkdir(plan.folder, {recursive: true})
      await writeFile(join(plan.folder, path), text)
      await outputOf('sh', ['-c', cronInstallation(plan)], {env: {PATH: `${bin}:/usr/bin:/bin`}})
      return text
    }
    const first = await install(planOf())
    const other = await install(planOf({folder: join(folder, 'other')}))
    expect(await readFile(table, 'utf8')).toBe(own + first + other)
    const again = await install(planOf({schedule: parseSchedule('0 4 * * *')}))
    expect(await readFile(table, 'utf8')).toBe(own + other + again)
    // Whatever somebody has taken out or put in between: lines of others are not touched.
    const lines = again.split('\n')
    await writeFile(table, [...lines.slice(0, 2), own.trim(), lines[3], ''].join('\n') + other)
    expect(await install(planOf({schedule: parseSchedule('0 4 * * *')}))).toBe(again)
    expect(await readFile(table, 'utf8')).toBe(own + other + again)
  })

  test('a failure is told with the end of the log, which cron mails', async () => {
    const run = await runLine('echo "$1 failed"; exit 4')
    expect(run).toMatchObject({exitCode: 1, stderr: ''})
    expect(run.stdout).toMatch(/^dbbak failed, or .*\nbackup failed\n$/)
  })

  test('a run that finds another under way leaves it alone, and says so', async () => {
    const holder = spawn('flock', [join(folder, 'dbbak.lock'), 'sh', '-c', 'echo held; cat'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const ended = new Promise((resolve) => holder.on('close', resolve))
    await new Promise((resolve) => holder.stdout.once('data', resolve))
    try {
      const run = await runLine('echo ran')
      expect(run.exitCode).toBe(1)
      expect(run.stdout).toMatch(/^dbbak failed, or the run before has not ended\./)
      expect(run.stdout).not.toContain('ran\n')
    } finally {
      holder.stdin.end()
      await ended
    }
  })

  test('a percent sign is escaped, which cron would take for the end of the line; a folder is one word', () => {
    const {text} = cronFile(planOf({folder: "/srv/it's 50%"}))
    expect(text).toMatch(/^0 2 \* \* \* .* cd '\/srv\/it'\\''s 50\\%' && /m)
  })
})

describe('the Kubernetes CronJob', () => {
  const documentsOf = (plan: InitPlan) => {
    const {text} = kubernetesFile(plan, variablesOf(plan))
    return parseAllDocuments(text)
      .map((document) => document.toJS())
      .filter((value) => value !== null)
  }

  test('is valid to the models of the API, with a volume where a destination is a folder', () => {
    const [claim, job] = documentsOf(planOf({destinations: ['./backups', 's3://b/p'], usesTestServer: true}))
    new PersistentVolumeClaim(claim).validate()
    new CronJob(job).validate()
    const pod = job.spec.jobTemplate.spec.template.spec
    expect(pod.containers[0].command.join(' ')).toBe(
      'dbbak backup --globals --format custom --to /backups --to s3://b/p --verify auto --prune',
    )
    expect(pod.volumes.map(({name}: {name: string}) => name)).toEqual(['tmp', 'backups'])
  })

  test('a fault would be found', () => {
    const [job] = documentsOf(planOf({destinations: ['s3://b/p']}))
    expect(() => new CronJob({...job, spec: {...job.spec, schedule: 5}}).validate()).toThrow()
  })

  test('runs without privileges, once at a time, and takes its secrets by reference', () => {
    const documents = documentsOf(planOf({destinations: ['s3://b/p'], image: 'registry.internal/dbbak:1'}))
    expect(documents).toHaveLength(1)
    const [{spec}] = documents
    expect(spec).toMatchObject({
      schedule: '0 2 * * *',
      timeZone: 'Etc/UTC',
      concurrencyPolicy: 'Forbid',
      startingDeadlineSeconds: 3600,
      successfulJobsHistoryLimit: 3,
      failedJobsHistoryLimit: 3,
    })
    const pod = spec.jobTemplate.spec.template.spec
    expect(pod).toMatchObject({
      automountServiceAccountToken: false,
      securityContext: {runAsNonRoot: true, seccompProfile: {type: 'RuntimeDefault'}},
      volumes: [{name: 'tmp', emptyDir: {}}],
    })
    const [container] = pod.containers
    expect(container.image).toBe('registry.internal/dbbak:1')
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: {drop: ['ALL']},
    })
    expect(container.resources.limits).toHaveProperty('memory')
    const named = container.env.filter(({valueFrom}: {valueFrom?: object}) => valueFrom)
    expect(named.map(({name}: {name: string}) => name)).toEqual([
      'DATABASE_URL',
      'AWS_ACCESS_KEY_ID',
      'AWS_SECRET_ACCESS_KEY',
      'AWS_REGION',
    ])
    for (const {name, valueFrom} of named)
      expect(valueFrom).toEqual({
        // A role can stand in for a key.
        secretKeyRef: {name: 'dbbak', key: name, ...(name === 'DATABASE_URL' ? {} : {optional: true})},
      })
    expect(container.env).toContainEqual({name: 'TMPDIR', value: '/tmp'})
  })

  test("Google's key is a file from a secret of its own, which a role can stand in for", () => {
    const plan = planOf({destinations: ['gs://b/p']})
    const [job] = documentsOf(plan)
    new CronJob(job).validate()
    const pod = job.spec.jobTemplate.spec.template.spec
    expect(pod.volumes).toContainEqual({
      name: 'gcs-key',
      secret: {secretName: 'dbbak-gcs-key', optional: true, defaultMode: 0o440},
    })
    expect(pod.containers[0].volumeMounts).toContainEqual({
      name: 'gcs-key',
      mountPath: '/var/run/secrets/dbbak-gcs-key',
      readOnly: true,
    })
    expect(pod.containers[0].env).toContainEqual({
      name: 'GOOGLE_APPLICATION_CREDENTIALS',
      valueFrom: {secretKeyRef: {name: 'dbbak-gcs-key', key: 'path', optional: true}},
    })
    expect(kubernetesFile(plan, variablesOf(plan)).text).toContain('serviceAccountName')
  })

  test('its secrets are made of what is set, and of nothing else', async () => {
    const plan = planOf({destinations: ['s3://b', 'gs://b']})
    const bin = join(folder, 'bin')
    await mkdir(bin)
    const kubectl = '#!/bin/sh\necho "$@"\ncase "$*" in *stdin*) cat ;; esac\n'
    await writeFile(join(bin, 'kubectl'), kubectl, {mode: 0o755})
    const env = {
      PATH: `${bin}:/usr/bin:/bin`,
      DATABASE_URL: 'postgresql://u:p=1@h/db',
      MY_DATABASE_URL: 'x',
      AWS_REGION: '',
      GOOGLE_APPLICATION_CREDENTIALS: '/keys/my key.json',
    }
    const made = await outputOf('sh', ['-c', secretCommands(variablesOf(plan)).join('\n')], {env})
    expect(made.split('\n')).toEqual([
      'create secret generic dbbak --from-env-file=/dev/stdin',
      'DATABASE_URL=postgresql://u:p=1@h/db',
      'create secret generic dbbak-gcs-key --from-file=key.json=/keys/my key.json --from-literal=path=/var/run/secrets/dbbak-gcs-key/key.json',
      '',
    ])
  })

  test('an image that is not named is one that is clearly to be replaced', () => {
    const {text} = kubernetesFile(planOf(), [])
    expect(text).toContain('# REPLACE the image below')
    expect(text).toMatch(/image: .*REPLACE-ME/)
    expect(kubernetesFile(planOf({image: 'mine'}), []).text).not.toMatch(/REPLACE/)
  })
})

describe('images', () => {
  test("the Dockerfile has the server's version, this dbbak, no secret and no root", () => {
    const {text} = dockerFile(planOf(), variablesOf(planOf()))
    expect(text).toContain('ARG PG_MAJOR=17\n')
    expect(text).toContain('ARG DBBAK_VERSION=1.2.3\n')
    expect(text).not.toMatch(/^(ARG|ENV) .*(URL|KEY|PASSWORD|SECRET)/m)
    expect(text.indexOf('USER node')).toBeGreaterThan(text.lastIndexOf('RUN '))
    expect(text).toContain(
      'CMD ["backup", "--globals", "--format", "custom", "--to", "/backups", "--verify", "auto", "--prune"]',
    )
    expect(dockerFile(planOf({serverMajor: undefined}), []).text).toContain('ARG PG_MAJOR=18\n')
  })

  test("Railway's service runs by its own schedule, to its end", () => {
    const [dockerfile, settings] = railwayFiles(planOf(), [])
    expect(dockerfile).toEqual(dockerFile(planOf(), []))
    expect(JSON.parse(settings.text)).toMatchObject({
      build: {dockerfilePath: dockerfile.path},
      deploy: {
        startCommand: 'dbbak backup --globals --format custom --to /backups --verify auto --prune',
        cronSchedule: '0 2 * * *',
        restartPolicyType: 'NEVER',
      },
    })
  })

  test('a container gets the variables of its destinations, and a folder that its user can write to', () => {
    const plan = planOf({destinations: ['./backups', 's3://b', 'gs://b']})
    expect(dockerCommands(plan, variablesOf(plan)).slice(1)).toEqual([
      'sudo install -d -m 700 -o 1000 -g 1000 backups   # the user in the image',
      'docker run --rm --init -e DATABASE_URL -e AWS_ACCESS_KEY_ID -e AWS_SECRET_ACCESS_KEY -e AWS_REGION -v "$GOOGLE_APPLICATION_CREDENTIALS:/run/gcs-key.json:ro" -e GOOGLE_APPLICATION_CREDENTIALS=/run/gcs-key.json -v "$PWD/backups:/backups" dbbak',
    ])
    const notes = railwayNotes(plan, variablesOf(plan)).join('\n')
    expect(notes).toMatch(
      /variables AWS_ACCESS_KEY_ID, .*GCS_SERVICE_ACCOUNT_KEY \(the key file's text\) too/,
    )
    expect(notes).toContain('RAILWAY_RUN_UID=0')
  })

  test("on Railway Google's key is written to a file of the container", async () => {
    const plan = planOf({destinations: ['gs://b']})
    const {startCommand} = JSON.parse(railwayFiles(plan, variablesOf(plan))[1].text).deploy
    const bin = join(folder, 'bin')
    await mkdir(bin)
    const dbbak =
      '#!/bin/sh\ncat "$GOOGLE_APPLICATION_CREDENTIALS"; rm "$GOOGLE_APPLICATION_CREDENTIALS"; echo " $@"\n'
    await writeFile(join(bin, 'dbbak'), dbbak, {mode: 0o755})
    const env = {PATH: `${bin}:/usr/bin:/bin`, GCS_SERVICE_ACCOUNT_KEY: '{"a": "b c"}'}
    const own = startCommand.replaceAll('/tmp/', `${folder}/`)
    expect(await outputOf('sh', ['-c', own], {env})).toBe(
      '{"a": "b c"} backup --globals --format custom --to gs://b --verify auto --prune\n',
    )
  })
})

test('in dbbak.env what can be done without is switched off', () => {
  const plan = planOf({destinations: ['s3://b']})
  const {text} = environmentFile(variablesOf(plan))
  expect(text).toMatch(/^DATABASE_URL=''$/m)
  expect(text).toMatch(/^# AWS_ACCESS_KEY_ID=''$/m)
})
