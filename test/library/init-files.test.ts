import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile} from 'node:fs/promises'
import {homedir, tmpdir} from 'node:os'
import {join} from 'node:path'
import {parse} from 'yaml'
import {configText} from '../../src/library/init/config-text.js'
import {parseSchedule} from '../../src/library/init/cron.js'
import {nextSteps} from '../../src/library/init/next-steps.js'
import {artefacts, imagePlaceholder, type InitPlan} from '../../src/library/init/plan.js'
import {findPrograms} from '../../src/library/init/programs.js'
import {refuseEarly, refuseForSchedules} from '../../src/library/init/refusals.js'
import {variablesFor} from '../../src/library/init/variables.js'
import {writeFiles} from '../../src/library/init/write-files.js'
import {parseConfig} from '../../src/library/config-schema.js'
import {loadSettings} from '../../src/library/settings.js'
import {outputOf} from '../support/run-command.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'init-files-'))
})
afterEach(() => rm(folder, {recursive: true, force: true}))

const file = (text: string, changes: object = {}) => ({path: 'a.yaml', text, mode: 0o600, ...changes})
const read = () => readFile(join(folder, 'a.yaml'), 'utf8')
const modeOf = async () => (await stat(join(folder, 'a.yaml'))).mode & 0o777
const statuses = async (...call: Parameters<typeof writeFiles>) =>
  (await writeFiles(...call)).map(({status}) => status)

describe('writing', () => {
  test('a new file is written with its rights, folders and all, and nothing else is left', async () => {
    const files = [file('one'), file('two', {path: 'x/y/b.yml', mode: 0o644})]
    expect(await statuses(folder, files, {force: false})).toEqual(['written', 'written'])
    expect(await modeOf()).toBe(0o600)
    expect((await readdir(folder, {recursive: true})).sort()).toEqual(['a.yaml', 'x', 'x/y', 'x/y/b.yml'])
  })

  test('the same content is unchanged, not written again, and closed to others', async () => {
    await writeFiles(folder, [file('one')], {force: false})
    await chmod(join(folder, 'a.yaml'), 0o644)
    const {ino} = await stat(join(folder, 'a.yaml'))
    expect(await statuses(folder, [file('one')], {force: false})).toEqual(['unchanged'])
    expect((await stat(join(folder, 'a.yaml'))).ino).toBe(ino)
    expect(await modeOf()).toBe(0o600)
  })

  test('other content is refused before anything is written', async () => {
    await writeFile(join(folder, 'a.yaml'), 'mine')
    const files = [file('new', {path: 'b.yaml'}), file('theirs')]
    await expect(writeFiles(folder, files, {force: false})).rejects.toMatchObject({
      code: 'CONFIRMATION_REQUIRED',
      exitCode: 2,
      message: expect.stringContaining('nothing was written'),
    })
    expect(await readdir(folder)).toEqual(['a.yaml'])
    expect(await read()).toBe('mine')
  })

  test('other content is replaced by force, or by a yes; a no keeps it', async () => {
    const asked: string[] = []
    const answer = (yes: boolean) => ({
      force: false,
      mayReplace: async (path: string) => {
        asked.push(path)
        return yes
      },
    })
    await writeFile(join(folder, 'a.yaml'), 'mine')
    expect(await statuses(folder, [file('new')], answer(false))).toEqual(['kept'])
    expect(await read()).toBe('mine')
    expect(await statuses(folder, [file('new')], answer(true))).toEqual(['written'])
    expect(await read()).toBe('new')
    expect(await modeOf()).toBe(0o600)
    expect(asked).toEqual([join(folder, 'a.yaml'), join(folder, 'a.yaml')])
    expect(await statuses(folder, [file('newer')], {force: true})).toEqual(['written'])
    expect(await read()).toBe('newer')
  })

  test('everything is asked before anything is written', async () => {
    await writeFile(join(folder, 'a.yaml'), 'mine')
    await writeFile(join(folder, 'z.yaml'), 'mine')
    const files = [file('new', {path: 'b.yaml'}), file('new'), file('new', {path: 'z.yaml'})]
    const cancelled = new Error('Ctrl-C')
    const mayReplace = async (path: string) => {
      if (path.endsWith('z.yaml')) throw cancelled
      return true
    }
    await expect(writeFiles(folder, files, {force: false, mayReplace})).rejects.toBe(cancelled)
    const confirm = async (paths: string[]) => {
      expect(paths).toEqual([join(folder, 'b.yaml'), join(folder, 'z.yaml')])
      throw cancelled
    }
    const notA = async (path: string) => !path.endsWith('a.yaml')
    await expect(writeFiles(folder, files, {force: false, mayReplace: notA, confirm})).rejects.toBe(cancelled)
    expect((await readdir(folder)).sort()).toEqual(['a.yaml', 'z.yaml'])
    expect(await read()).toBe('mine')
  })

  test('a file that the user fills in is never replaced, by force neither, and stops nothing', async () => {
    await writeFile(join(folder, 'a.yaml'), 'secrets')
    const files = [file('template', {isTheUsers: true})]
    await chmod(join(folder, 'a.yaml'), 0o644)
    expect(await writeFiles(folder, files, {force: false})).toEqual([
      {path: join(folder, 'a.yaml'), status: 'kept', access: 'closed'},
    ])
    expect(await modeOf()).toBe(0o600)
    for (const options of [{force: false}, {force: true}, {force: false, mayReplace: async () => true}])
      expect(await statuses(folder, files, options)).toEqual(['kept'])
    expect(await read()).toBe('secrets')
  })

  test('a link stays one: what it leads to is replaced', async () => {
    await mkdir(join(folder, 'elsewhere'))
    const elsewhere = join(folder, 'elsewhere', 'b.yaml')
    await writeFile(elsewhere, 'old')
    await symlink(elsewhere, join(folder, 'a.yaml'))
    await writeFiles(folder, [file('new')], {force: true})
    expect(await readFile(elsewhere, 'utf8')).toBe('new')
    expect((await lstat(join(folder, 'a.yaml'))).isSymbolicLink()).toBe(true)
    expect((await readdir(folder, {recursive: true})).sort()).toEqual([
      'a.yaml',
      'elsewhere',
      'elsewhere/b.yaml',
    ])
  })

  test('a link that leads nowhere is told, and nothing is written', async () => {
    await symlink(join(folder, 'nowhere'), join(folder, 'a.yaml'))
    for (const force of [false, true])
      await expect(
        writeFiles(folder, [file('new', {path: 'b'}), file('new')], {force}),
      ).rejects.toMatchObject({
        code: 'CONFIRMATION_REQUIRED',
        message: expect.stringContaining('leads nowhere'),
      })
    expect(await readdir(folder)).toEqual(['a.yaml'])
  })

  test('a folder in the way, or a file where a folder is to be, is told with what to do', async () => {
    await mkdir(join(folder, 'a.yaml'))
    const wanted = {
      code: 'OPTION_INVALID',
      suggestions: expect.arrayContaining([expect.stringContaining('--dir')]),
    }
    await expect(writeFiles(folder, [file('new')], {force: true})).rejects.toMatchObject(wanted)
    await writeFile(join(folder, 'f'), '')
    await expect(writeFiles(join(folder, 'f'), [file('new')], {force: true})).rejects.toMatchObject(wanted)
    expect((await readdir(folder)).sort()).toEqual(['a.yaml', 'f'])
  })
})

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
  isInstalled: false,
  ...changes,
})

describe('the config file', () => {
  test.each([
    [{}],
    [{format: 'directory' as const, keepDays: 7, usesTestServer: true}],
    [
      {
        destinations: [
          's3://b/p',
          'gs://b',
          'azblob://c/p',
          './backups',
          '/mnt/x y',
          '~/b',
          "./it's ${HOME}: #1",
        ],
      },
    ],
  ])('says what was chosen, and is valid', async (changes) => {
    const plan = planOf(changes)
    const config = parseConfig({value: parse(configText(plan)), unset: []}, 'it')
    expect(config).toMatchObject({format: plan.format, retentionDays: plan.keepDays, globals: true})
    await writeFile(join(folder, 'dbbak.config.yaml'), configText(plan))
    const settings = await loadSettings({env: {}, cwd: folder})
    expect(settings.destinations.value).toHaveLength(plan.destinations.length)
    expect(settings.destinations.value).toContain(
      plan.destinations.includes('./backups') ? join(folder, 'backups') : plan.destinations[0],
    )
    if (plan.destinations.length > 1)
      expect(settings.destinations.value).toContain(join(folder, "it's ${HOME}: #1"))
  })

  test('every line that is switched off can be switched on as it stands', () => {
    const text = configText(planOf({destinations: ['s3://b', 'gs://b', 'azblob://c']}))
    const isSetting = (line: string) => /^# {1,3}[a-zA-Z3]+:( |$)/.test(line)
    const lines = text.split('\n')
    expect(lines.filter(isSetting).length).toBeGreaterThan(8)
    const on = lines.map((line) => (isSetting(line) ? line.slice(2) : line)).join('\n')
    expect(() => parseConfig({value: parse(on), unset: []}, 'it')).not.toThrow()
    expect(parse(on)).toMatchObject({
      databaseUrl: '${DATABASE_URL}',
      testDatabaseUrl: '${TEST_DATABASE_URL}',
      s3: {storageClass: 'STANDARD_IA'},
      gcs: {},
      azure: {},
    })
  })

  test('a folder below it is written relative to it, so that both can be moved together', () => {
    const written = (destination: string) => parse(configText(planOf({destinations: [destination]}))).to[0]
    expect(written(join(folder, 'deep', 'er'))).toBe('./deep/er')
    expect(written('backups')).toBe('./backups')
    expect(written('/mnt/backups')).toBe('/mnt/backups')
    expect(written('../backups')).toBe('../backups')
    expect(written('~/b')).toBe(join(homedir(), 'b')) // whoever runs it then
    expect(written('file:///mnt/b')).toBe('file:///mnt/b')
  })
})

describe('variables', () => {
  const namesFor = (destinations: string[], usesTestServer = false) =>
    variablesFor({destinations, usesTestServer}, {DATABASE_URL: 'x'}).map(({name}) => name)

  test('those of the database and of the clouds that are used', () => {
    expect(namesFor(['./b'])).toEqual(['DATABASE_URL'])
    expect(namesFor(['./b', 'gs://b'], true)).toEqual([
      'DATABASE_URL',
      'TEST_DATABASE_URL',
      'GOOGLE_APPLICATION_CREDENTIALS',
    ])
    expect(namesFor(['s3://b/x', 'azblob://c'])).toEqual([
      'DATABASE_URL',
      'AWS_ACCESS_KEY_ID',
      'AWS_SECRET_ACCESS_KEY',
      'AWS_REGION',
      'AZURE_STORAGE_CONNECTION_STRING',
    ])
  })

  test('it is said which are set here', () => {
    const found = variablesFor(
      {destinations: ['s3://b'], usesTestServer: false},
      {DATABASE_URL: 'x', AWS_REGION: ''},
    )
    expect(found.filter(({isSet}) => isSet).map(({name}) => name)).toEqual(['DATABASE_URL'])
  })
})

describe('what to do next', () => {
  const steps = (changes: Partial<InitPlan> = {}) => {
    const plan = planOf(changes)
    return nextSteps(plan, [...artefacts], variablesFor(plan, {}))
  }

  test('each step once, in a form that a shell can read', async () => {
    const all = await steps({destinations: ['./it is', 's3://b/p', 'gs://b', 'azblob://c/p']})
    expect(new Set(all).size).toBe(all.length)
    const commands = all.filter((step) => !/^(Railway|Write|Put) ?/.test(step))
    expect(commands.length).toBeGreaterThan(15)
    for (const command of commands) await outputOf('bash', ['-n', '-c', command.replace(/…/g, 'x')])
  })

  test('for GitHub the secrets and the buckets are named', async () => {
    expect(await steps({destinations: ['s3://shop/daily', 'gs://b']})).toEqual(
      expect.arrayContaining([
        'gh secret set DATABASE_URL',
        'gh secret set AWS_SECRET_ACCESS_KEY',
        'gh variable set AWS_REGION',
        'gh variable set AWS_S3_BUCKET --body shop',
        'gh variable set AWS_S3_PREFIX --body daily',
        'gh secret set GCS_SERVICE_ACCOUNT_KEY',
        'gh variable set GCS_BUCKET --body b',
      ]),
    )
  })

  test('root makes a user for the service, whose home is the folder', async () => {
    expect(await steps({isRoot: true, user: 'dbbak', folder: '/etc/dbbak'})).toContain(
      'id dbbak >/dev/null 2>&1 || useradd --system --no-create-home --home-dir /etc/dbbak dbbak',
    )
    expect((await steps()).join('\n')).not.toContain('useradd')
  })

  test('dbbak is installed where it is not, and its user can run it', async () => {
    expect(await steps()).toContain(
      'npm install --global dbbak@1.2.3   # the schedule starts /opt/node/bin/dbbak',
    )
    expect((await steps({isInstalled: true})).join('\n')).not.toContain('npm install')
    await mkdir(join(folder, 'closed'), {mode: 0o700})
    const nodeFolder = join(folder, 'closed')
    const told = expect.stringContaining(`it cannot get into ${folder}`) // itself closed
    expect(await steps({isRoot: true, nodeFolder})).toContainEqual(told)
    expect(await steps({nodeFolder})).not.toContainEqual(told)
  })
})

describe('the programs of a schedule', () => {
  const find = (script: string | undefined, node = '/opt/node/bin/node', path = '/nowhere') =>
    findPrograms({node, script, path})

  test('are those that run now, by absolute paths', () => {
    expect(find('/usr/local/bin/dbbak')).toEqual({
      nodeFolder: '/opt/node/bin',
      program: '/usr/local/bin/dbbak',
      isInstalled: true,
    })
    expect(find('/srv/dbbak/bin/run.js').program).toBe('/srv/dbbak/bin/run.js')
  })

  test('are not those that npx has fetched, or a program that uses the library', async () => {
    const passing = '/home/keeper/.npm/_npx/d34db33f/node_modules'
    const installed = {nodeFolder: '/opt/node/bin', program: '/opt/node/bin/dbbak', isInstalled: false}
    for (const script of [`${passing}/.bin/dbbak`, '/srv/app/main.js', undefined])
      expect(find(script)).toEqual(installed)
    expect(find(undefined, `${passing}/node/bin/node`).nodeFolder).toBe('/usr/local/bin')
    await writeFile(join(folder, 'dbbak'), '')
    expect(find(`${passing}/.bin/dbbak`, '/n/node', `${passing}/.bin:${folder}`)).toEqual({
      nodeFolder: '/n',
      program: join(folder, 'dbbak'),
      isInstalled: true,
    })
  })
})

describe('what is refused early', () => {
  const places = (changes: Partial<InitPlan> = {}) => planOf(changes)
  const refused = (code: string, text: string | RegExp) => ({
    code,
    exitCode: 2,
    message: expect.stringMatching(text),
  })

  test('names that files cannot hold, and names that schedules would misread', async () => {
    for (const path of ['/srv/a\nb', '/srv/a\u007f'])
      await expect(refuseEarly(places({folder: path}))).rejects.toMatchObject(
        refused('OPTION_INVALID', 'odd'),
      )
    for (const destinations of [['./a*'], ['/srv/a\\b'], ['/srv/[x]'], ['/srv/a ']]) {
      await expect(refuseEarly(places({destinations}))).resolves.toBeUndefined()
      for (const artefact of ['cron', 'systemd'] as const)
        await expect(refuseForSchedules(places({destinations}), [artefact])).rejects.toMatchObject(
          refused('OPTION_INVALID', `odd.*${artefact} would misread`),
        )
      await expect(refuseForSchedules(places({destinations}), ['docker'])).resolves.toBeUndefined()
    }
    await expect(
      refuseForSchedules(places({folder: "/srv/it's 50%", destinations: ['s3://a*b/c']}), [
        'cron',
        'systemd',
      ]),
    ).resolves.toBeUndefined()
  })

  test('a folder that cannot be written to, or cannot be made', async () => {
    await writeFile(join(folder, 'f'), '')
    await expect(refuseEarly(places({folder: join(folder, 'f', 'x')}))).rejects.toMatchObject(
      refused('OPTION_INVALID', 'cannot be written to'),
    )
    await expect(refuseEarly(places({folder: join(folder, 'new', 'er')}))).resolves.toBeUndefined()
    expect(await readdir(folder)).toEqual(['f'])
  })

  test("root's service runs as a user who cannot get into root's folders", async () => {
    await mkdir(join(folder, 'open'), {mode: 0o755})
    const plan = places({folder: join(folder, 'open'), isRoot: true, user: 'dbbak'})
    const closed = refused(
      'OPTION_INVALID',
      `user dbbak, and not as root; that user cannot get into ${folder}\\.`,
    )
    await chmod(folder, 0o700)
    await expect(refuseForSchedules(plan, ['systemd'])).rejects.toMatchObject(closed)
    await expect(refuseForSchedules(plan, ['cron'])).resolves.toBeUndefined()
    await expect(refuseForSchedules({...plan, isRoot: false}, ['systemd'])).resolves.toBeUndefined()
    await chmod(folder, 0o755)
    await expect(refuseForSchedules(plan, ['systemd'])).resolves.toBeUndefined()
    await mkdir(join(folder, 'closed'), {mode: 0o700})
    const destinations = [join(folder, 'closed', 'backups')]
    await expect(refuseForSchedules({...plan, destinations}, ['systemd'])).rejects.toMatchObject(
      refused('OPTION_INVALID', `get into ${folder}/closed`),
    )
  })
})
