import {describe, expect, test} from '@jest/globals'
import {cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import {parse} from 'yaml'
import {parseSchedule} from '../../src/library/init/cron.js'
import {pinned, workflowPath, workflowText} from '../../src/library/init/github/workflow.js'
import {dbbakVersion} from '../../src/library/version.js'
import {outputOf, runCommand} from '../support/run-command.js'
import {
  fill,
  readYaml,
  repository,
  type Action,
  type Job,
  type Step,
  type Workflow,
} from '../support/workflow-steps.js'

const workflow = await readYaml<Workflow>(workflowPath)
const action = await readYaml<Action>('action.yml')
const texts: [string, string][] = await Promise.all(
  [workflowPath, 'action.yml'].map(async (path): Promise<[string, string]> => [
    path,
    await readFile(join(repository, path), 'utf8'),
  ]),
)
const jobs: [string, Job][] = Object.entries(workflow.jobs)
const allSteps: Step[] = [...jobs.flatMap(([, {steps}]) => steps), ...action.runs.steps]

test('the workflow of this repository is what init writes', () => {
  const plan = {schedule: parseSchedule('0 2 * * *'), keepDays: 30, version: dbbakVersion}
  const text = workflowText(plan)
  expect(texts[0][1]).toBe(text)
})

test('the action runs the version that it is part of, unless another is asked for', () => {
  expect(action.inputs.version?.default).toBe(dbbakVersion)
})

test('a schedule of its own, and a retention of its own, are in the workflow; the two schedules never coincide', () => {
  const written = (cron: string, keepDays: number) =>
    workflowText({schedule: parseSchedule(cron), keepDays, version: '9.9.9'})
  expect(written('30 1 * * 1-5', 7)).toMatch(/- cron: '30 1 \* \* 1-5'[^]*retention-days: 7\n/)
  expect(written('30 1 * * 1-5', 7)).not.toContain('0 2 * * *')
  expect(written('0 2 * * *', 400)).toContain('retention-days: 90\n') // GitHub keeps nothing longer
  const sunday = written('0 3 * * 0', 30)
  expect([...sunday.matchAll(/- cron: '(.*?)'/g)].map(([, cron]) => cron)).toEqual(['0 3 * * 0', '0 5 * * 0'])
  expect(written('0 2 * * *', 30)).not.toMatch(/<[A-Z]+>|%\{/)
  expect(written('0 2 * * *', 30)).toContain('npx --yes dbbak@9.9.9 backup')
})

test('npm version renews both', async () => {
  const copy = await mkdtemp(join(tmpdir(), 'version-'))
  try {
    await cp(join(repository, 'bin'), join(copy, 'bin'), {recursive: true})
    for (const name of ['dist', 'node_modules']) await symlink(join(repository, name), join(copy, name))
    await mkdir(join(copy, dirname(workflowPath)), {recursive: true})
    await writeFile(join(copy, 'action.yml'), texts[1][1])
    await writeFile(join(copy, 'package.json'), '{"type": "module", "version": "9.8.7-beta.6"}')
    await outputOf(process.execPath, ['bin/renew-version.js'], {cwd: copy})
    const renewed = (text: string) => text.replaceAll(dbbakVersion, '9.8.7-beta.6')
    for (const [path, text] of texts) expect(await readFile(join(copy, path), 'utf8')).toBe(renewed(text))
  } finally {
    await rm(copy, {recursive: true})
  }
  const {scripts} = JSON.parse(await readFile(join(repository, 'package.json'), 'utf8'))
  expect(scripts.version).toContain('node bin/renew-version.js')
  for (const [path] of texts) expect(scripts.version).toContain(path)
})

test('in a folder of a repository its steps run there, and its files are named from the top', async () => {
  const plan = {
    schedule: parseSchedule('0 2 * * *'),
    keepDays: 30,
    version: dbbakVersion,
    repository: '/srv/shop',
    folder: '/srv/shop/services/the db',
  }
  const {jobs: inside} = parse(workflowText(plan)) as Workflow
  for (const name of ['backup', 'verify'])
    expect(inside[name].defaults).toEqual({run: {shell: 'bash', 'working-directory': 'services/the db'}})
  expect(inside.report.defaults).toBeUndefined() // it has no code
  const named = ['backup', 'verify'].flatMap((name) =>
    inside[name].steps.flatMap((step) => [
      ...(/hashFiles\('(.*?)'\)/.exec(step.if ?? '')?.slice(1) ?? []),
      ...(typeof step.with?.path === 'string' ? [step.with.path] : []),
    ]),
  )
  expect(named.length).toBe(5)
  for (const path of named) expect(path).toMatch(/^services\/the db\/(backups|verification)/)
  expect(workflowText({...plan, folder: plan.repository})).toBe(texts[0][1])
})

test.each([workflowPath, 'action.yml'])('%s is valid to the schema of GitHub', async (path) => {
  await outputOf(join(repository, 'node_modules/.bin/action-validator'), [path], {cwd: repository})
})

test('the validator finds a fault, where there is one', async () => {
  const {exitCode} = await runCommand(
    join(repository, 'node_modules/.bin/action-validator'),
    ['package.json'],
    {cwd: repository},
  )
  expect(exitCode).not.toBe(0)
})

test.each(texts)(
  'every action that %s uses is pinned by commit, with its version beside it',
  (path, text) => {
    const used = text.split('\n').filter((line) => /^\s*(- )?uses:/.test(line))
    if (path === workflowPath) expect(used.length).toBeGreaterThan(4)
    for (const line of used) expect(line).toMatch(/uses: actions\/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
    for (const line of used) expect(Object.values(pinned)).toContain(line.trim().replace(/^(- )?uses: /, ''))
  },
)

describe('rights', () => {
  test('the workflow reads the code; each job has what it needs beyond, and no more', () => {
    expect(workflow.permissions).toEqual({contents: 'read'})
    expect(Object.fromEntries(jobs.map(([name, {permissions}]) => [name, permissions]))).toEqual({
      backup: undefined,
      verify: {contents: 'read', actions: 'read'},
      report: {issues: 'write'},
    })
  })

  test('the code is fetched without leaving credentials', () => {
    const checkouts = allSteps.filter(({uses}) => uses?.startsWith('actions/checkout@'))
    expect(checkouts).toHaveLength(2)
    for (const step of checkouts) expect(step.with).toEqual({'persist-credentials': false})
  })

  test('secrets are in the environment of the steps that use them, never in that of a job or in a script', () => {
    for (const [, job] of jobs) expect(job).not.toHaveProperty('env')
    expect(workflow).not.toHaveProperty('env')
    const withSecrets = jobs.flatMap(([, {steps}]) =>
      steps.filter((step) => JSON.stringify(step).includes('secrets.')).map(({name}) => name),
    )
    expect(withSecrets).toEqual([
      'Ask the server its version',
      'Back up',
      'Verify by restoring it',
      'Fetch the backups of the last eight days',
      'Verify all by restoring them',
    ])
  })

  test('packages are fetched from npm before any secret is there', () => {
    for (const steps of [workflow.jobs.backup.steps, workflow.jobs.verify.steps, action.runs.steps]) {
      const fetching = steps.findIndex(({name}) => name === 'Fetch dbbak')
      const secret = steps.findIndex((step) => /secrets\.|DATABASE_URL/.test(JSON.stringify(step)))
      expect(fetching).toBeGreaterThanOrEqual(0)
      expect(fetching).toBeLessThan(secret)
    }
  })
})

test('no script has an expression in it: what it works on comes by its environment', () => {
  const scripts = allSteps.flatMap(({run}) => (run === undefined ? [] : [run]))
  expect(scripts.length).toBeGreaterThan(10)
  for (const script of scripts) expect(script).not.toContain('${{')
})

test('every script is one that bash can read', async () => {
  for (const {run} of allSteps) if (run !== undefined) await outputOf('bash', ['-n', '-c', run])
})

test('a backup that is under way is not cancelled by the next, and no job runs for ever', () => {
  expect(workflow.concurrency['cancel-in-progress']).toBe(false)
  for (const [, job] of jobs) expect(job['timeout-minutes']).toBeGreaterThan(0)
})

test('all steps of the composite action name bash, and the workflow has it as the default', () => {
  for (const {run, shell} of action.runs.steps) if (run !== undefined) expect(shell).toBe('bash')
  expect(workflow.defaults.run.shell).toBe('bash')
})

describe('which jobs run', () => {
  const decide = (event: object, inputs: object = {}, vars: object = {}) => {
    const known = {github: {event_name: 'schedule', event}, inputs, vars, always: () => true}
    return Object.fromEntries(jobs.map(([name, job]) => [name, fill(`\${{ ${job.if} }}`, known) === 'true']))
  }

  test.each([
    ['the daily schedule', {schedule: '0 2 * * *'}, {}, {backup: true, verify: false}],
    ['the weekly schedule', {schedule: '0 3 * * 0'}, {}, {backup: false, verify: true}],
    ['by hand, a backup', {}, {task: 'backup', upload: true}, {backup: true, verify: false}],
    ['by hand, a verification', {}, {task: 'verify', upload: false}, {backup: false, verify: true}],
  ])('%s', (_, event, inputs, expected) => {
    expect(decide(event, inputs)).toEqual({...expected, report: true})
    expect(decide(event, inputs, {DATABASE_BACKUP: 'off'})).toEqual({
      backup: false,
      verify: false,
      report: false,
    })
  })

  test('a backup and a verification do not wait for each other', () => {
    const group = (event: object, inputs: object) =>
      fill(workflow.concurrency.group, {github: {event}, inputs})
    expect(group({schedule: '0 2 * * *'}, {})).toBe('database-backup-backup')
    expect(group({}, {task: 'backup'})).toBe('database-backup-backup')
    expect(group({schedule: '0 3 * * 0'}, {})).toBe('database-backup-verify')
    expect(group({}, {task: 'verify'})).toBe('database-backup-verify')
  })
})
