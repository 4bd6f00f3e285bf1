import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {cp, mkdir, readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {workflowPath} from '../../src/library/init/github/workflow.js'
import {dbbakVersion} from '../../src/library/version.js'
import {startServer, type TestServer} from '../support/servers.js'
import {
  callsOf,
  putProgram,
  readYaml,
  record,
  repository,
  startRunner,
  type Action,
  type JobRun,
  type Runner,
  type Workflow,
} from '../support/workflow-steps.js'
import {dbbakJson, expectNoSecret, secret, toolSettings} from './program.js'

const program = process.env.DBBAK_TEST_PROGRAM ?? join(repository, 'bin/run.js')
const workflow = await readYaml<Workflow>(workflowPath)
const action = await readYaml<Action>('action.yml')

let server: TestServer
let runner: Runner
let env: Record<string, string | undefined>
const runners: Runner[] = []

beforeAll(async () => {
  server = await startServer({overTcp: true})
  await server.createDatabase('shop')
  await server.query(
    `create table orders as select generate_series(1, 500) as id; create role keeper login superuser password '${secret}'`,
    'shop',
  )
  env = {
    ...(await toolSettings(server.major)),
    PATH: process.env.PATH,
    TMPDIR: process.env.TMPDIR,
    HOME: '/nonexistent',
    DBBAK_RETRY_FOR: '1s',
    GITHUB_REPOSITORY: 'someone/shop',
    GITHUB_REF_NAME: 'main',
    GITHUB_SERVER_URL: 'https://github.com',
    GITHUB_RUN_ID: '77',
  }
})
afterAll(async () => {
  await server?.stop()
  for (const {workspace} of runners) await rm(dirname(workspace), {recursive: true, force: true})
})

beforeEach(async () => {
  runner = await startRunner({env})
  runners.push(runner)
  const run = `exec '${process.execPath}' '${program}' "$@"`
  // What the prune would remove is another test's matter; here it is which one is called.
  await putProgram(
    runner,
    'npx',
    `#!/bin/bash\n${record}shift 2\nif [ "$1" = prune ]; then exit 0; fi\n${run}\n`,
  )
  await putProgram(runner, 'sudo', `#!/bin/bash\n${record}if [ "$1" = tee ]; then cat > /dev/null; fi\n`)
  await putProgram(runner, 'gh', `#!/bin/bash\n${record}${gh}`)
  await answers('repos/someone/shop', {visibility: 'private', has_issues: true})
})

/** GitHub's own program: what the API answers lies in files, issues are files by label. */
const gh = `
state="$0.state"; mkdir -p "$state"
label= jq=. path= name= dir= all=("$@")
for ((i = 0; i < \${#all[@]}; i++)); do
  case "\${all[i]}" in
    --label) label=\${all[i+1]} ;;
    --jq) jq=\${all[i+1]} ;;
    --name) name=\${all[i+1]} ;;
    --dir) dir=\${all[i+1]} ;;
    event=*) event=\${all[i]#event=} ;;
    repos/*) path=\${all[i]} ;;
  esac
done
case "$1 $2" in
  api\\ *) jq -r "$jq" "$state/$(tr / _ <<< "$path")\${event:+_$event}.json" ;;
  'issue list') cat "$state/issue-$label" 2>/dev/null || true ;;
  'issue create') echo 41 > "$state/issue-$label" ;;
  'issue close') grep -l "^$3$" "$state"/issue-* | xargs rm ;;
  'issue comment' | 'label create') ;;
  'run download') cp -r "$state/artifacts/$3/$name/." "$dir" ;;
  *) exit 64 ;;
esac
`
const ghState = () => join(runner.bin, 'gh.state')

async function answers(path: string, answer: object): Promise<void> {
  await mkdir(ghState(), {recursive: true})
  await writeFile(join(ghState(), `${path.replaceAll('/', '_')}.json`), JSON.stringify(answer))
}

const scheduled = (changes: {secrets?: object; vars?: object; github?: object; inputs?: object} = {}) => ({
  secrets: {
    DATABASE_URL: server.url('shop', 'keeper', secret),
    TEST_DATABASE_URL: server.url('postgres', 'keeper', secret),
    ...changes.secrets,
  },
  vars: {...changes.vars},
  inputs: {...changes.inputs},
  github: {
    token: 'gh-token',
    event_name: 'schedule',
    event: {schedule: '0 2 * * *'},
    repository: 'someone/shop',
    run_attempt: 1,
    ...changes.github,
  },
})

async function job(name: string, contexts: object = scheduled()): Promise<JobRun> {
  const run = await runner.run(workflow.jobs[name].steps, {...contexts}, workflow.defaults.run.shell)
  expectNoSecret(run.log)
  expectNoSecret(run.summary)
  return run
}

const outcomes = ({steps}: JobRun) => Object.fromEntries(steps.map(({name, outcome}) => [name, outcome]))
/** What lies in a folder of the workspace, but for a destination's own work folder. */
const kept = async (folder = 'backups') => {
  const names = await readdir(join(runner.workspace, folder)).catch(() => [] as string[])
  return names.filter((name) => name !== '.dbbak-work').sort()
}
const stepLog = ({steps}: JobRun, name: string) => steps.find((step) => step.name === name)?.log ?? ''

describe('the daily job', () => {
  test("takes a backup with tools of the server's version, restores it, and keeps it for 30 days", async () => {
    const run = await job('backup')
    expect({outcome: run.outcome, log: run.log}).toEqual({outcome: 'success', log: expect.any(String)})
    expect(run.outputs.server).toEqual({major: String(server.major)})
    expect((await callsOf(runner, 'sudo')).at(-1)!.trim()).toBe(
      `sudo apt-get install -y -q --no-install-recommends postgresql-client-${server.major} postgresql-${server.major}`,
    )
    expect(await callsOf(runner, 'sudo')).toContainEqual(expect.stringContaining('apt.postgresql.org.sh -y'))
    expect(await kept()).toEqual([
      expect.stringMatching(/^shop_\S+Z\.dump\.zst$/),
      expect.stringMatching(/^shop_\S+\.metadata\.json$/),
      expect.stringMatching(/^shop_\S+\.verification\.json$/),
      expect.stringMatching(/^shop_\S+Z\.globals\.sql$/),
    ])
    const [, , record] = await kept()
    expect(JSON.parse(await readFile(join(runner.workspace, 'backups', record), 'utf8'))).toMatchObject({
      verdict: 'passed',
      level: 'restore',
    })
    expect(stepLog(run, 'Keep the backup').split('\n')).toEqual(
      expect.arrayContaining(['name=database-backup-1', 'path=backups/', 'retention-days=30']),
    )
    expect(run.summary).toMatch(/### dbbak backup: done in [^]*### dbbak verify: done in /)
    expect(run.summary).not.toContain('dbbak doctor')
    expect(run.log).not.toContain('::error')
    for (const call of await callsOf(runner, 'npx')) expect(call).toMatch(`npx --yes dbbak@${dbbakVersion} `)
  })

  test('fails where the server cannot be reached, says why, and installs and keeps nothing', async () => {
    const run = await job(
      'backup',
      scheduled({secrets: {DATABASE_URL: 'postgresql://keeper@127.0.0.1:1/shop'}}),
    )
    expect(outcomes(run)).toMatchObject({
      'Ask the server its version': 'failure',
      'Back up': 'skipped',
      'Verify by restoring it': 'skipped',
      'Keep the backup': 'skipped',
    })
    expect(stepLog(run, 'Ask the server its version')).toMatch(
      /^::error title=The database cannot be reached::.*\n {2}SERVER_UNREACHABLE: .*\n {2}\S.*pg_isready/,
    )
    expect(await callsOf(runner, 'sudo')).toEqual([])
  })

  test('fails where the secret is not set, and says how to set it', async () => {
    const run = await job('backup', scheduled({secrets: {DATABASE_URL: undefined}}))
    expect(run.outcome).toBe('failure')
    expect(stepLog(run, 'Ask the server its version')).toContain('gh secret set DATABASE_URL')
  })

  test('fails where the backup does, and keeps nothing', async () => {
    await server.query(`create role reader login password '${secret}'`)
    const run = await job(
      'backup',
      scheduled({secrets: {DATABASE_URL: server.url('shop', 'reader', secret)}}),
    )
    expect(outcomes(run)).toMatchObject({
      'Ask the server its version': 'success',
      'Back up': 'failure',
      'Verify by restoring it': 'skipped',
      'Keep the backup': 'skipped',
    })
    expect(stepLog(run, 'Back up')).toMatch(/::error title=dbbak [A-Z_]+::/)
    expect(run.summary).toContain('### dbbak backup: failed')
    expect((await kept()).filter((name) => name.endsWith('.metadata.json'))).toEqual([])
  })

  test('fails where the upload does, and verifies and keeps the backup all the same', async () => {
    const vars = {AWS_S3_BUCKET: 'shop', AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1', AWS_REGION: 'us-east-1'}
    const secrets = {AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: secret}
    const run = await job('backup', scheduled({vars, secrets}))
    expect(run.outcome).toBe('failure')
    expect(outcomes(run)).toMatchObject({
      'Back up': 'failure',
      'Verify by restoring it': 'success',
      'Keep the backup': 'success',
    })
    expect(stepLog(run, 'Back up')).toContain('The backup is stored at 1 of 2 destinations.')
  })

  test('by hand, uploads only where that is asked for', async () => {
    const place = async (inputs: object, vars: object, event_name = 'workflow_dispatch') => {
      const steps = workflow.jobs.backup.steps.filter(({id}) => id === 'place')
      const run = await runner.run(steps, scheduled({inputs, vars, github: {event_name}}), 'bash')
      return run.outputs.place
    }
    const vars = {GCS_BUCKET: 'shop'}
    expect(await place({upload: false}, vars)).toEqual({upload: 'false', artifact: 'true'})
    expect(await place({upload: true}, vars)).toEqual({upload: 'true', artifact: 'true'})
    expect(await place({}, vars, 'schedule')).toEqual({upload: 'true', artifact: 'true'})
    expect(await place({}, {}, 'schedule')).toEqual({upload: 'false', artifact: 'true'})
  })

  test('in a public repository a backup is never an artifact', async () => {
    await answers('repos/someone/shop', {visibility: 'public'})
    const refused = await job('backup')
    expect(refused.outcome).toBe('failure')
    expect(refused.log).toContain('Everybody can download the artifacts of a public repository.')
    expect(outcomes(refused)).toMatchObject({'Back up': 'skipped', 'Keep the backup': 'skipped'})
    const vars = {AWS_S3_BUCKET: 'shop', AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1', AWS_REGION: 'us-east-1'}
    const secrets = {AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret'}
    const run = await job('backup', scheduled({vars, secrets}))
    expect(run.outputs.place).toEqual({upload: 'true', artifact: 'false'})
    expect(outcomes(run)['Keep the backup']).toBe('skipped')
  })
})

describe('the weekly job', () => {
  /** Artifacts of two runs of the schedule, of one by hand, of an expired one, and one of another name. */
  async function artifactsOfRuns(): Promise<string[]> {
    const artifact = (name: string, expired = false) => ({name, expired})
    const runs = 'repos/someone/shop/actions/workflows/database-backup.yml/runs'
    await answers(`${runs}_schedule`, {workflow_runs: [{id: 1}, {id: 2}]})
    await answers(`${runs}_workflow_dispatch`, {workflow_runs: [{id: 3}]})
    const of = (id: number) => `repos/someone/shop/actions/runs/${id}/artifacts`
    await answers(of(1), {artifacts: [artifact('database-backup-1'), artifact('verification-report-1')]})
    await answers(of(2), {artifacts: [artifact('database-backup-1', true)]})
    await answers(of(3), {artifacts: [artifact('database-backup-2')]})
    const ids: string[] = []
    for (const [id, name] of [
      [1, 'database-backup-1'],
      [3, 'database-backup-2'],
    ]) {
      const folder = join(ghState(), 'artifacts', String(id), String(name))
      const {backup} = await dbbakJson(['backup', '--to', folder], {
        env: {...env, DATABASE_URL: server.url('shop')},
      })
      ids.push(backup.id)
    }
    return ids
  }

  test('fetches the backups of recent runs, restores each, and reports them', async () => {
    const ids = await artifactsOfRuns()
    const run = await job('verify')
    expect({outcome: run.outcome, log: run.log}).toEqual({outcome: 'success', log: expect.any(String)})
    const report = JSON.parse(await readFile(join(runner.workspace, 'verification.json'), 'utf8'))
    expect(report.verdict).toBe('passed')
    expect(report.results.map(({id, level}: {id: string; level: string}) => [id, level]).sort()).toEqual(
      ids.map((id) => [id, 'restore']).sort(),
    )
    for (const id of ids) expect(run.summary).toContain(`| ${id} | passed | restore |`)
    expect(outcomes(run)['Keep the report']).toBe('success')
    expect(run.outputs.server).toEqual({major: String(server.major)})
    const downloads = (await callsOf(runner, 'gh')).filter((call) => call.includes('run download'))
    expect(downloads).toHaveLength(2)
  })

  test('asks only for runs of its own branch that a schedule or a hand began', async () => {
    await artifactsOfRuns()
    await job('verify')
    const asked = (await callsOf(runner, 'gh')).filter((call) => call.includes('database-backup.yml/runs'))
    expect(asked).toHaveLength(2)
    for (const call of asked)
      expect(call).toMatch(
        / -f event=(schedule|workflow_dispatch) -f branch=main -f created=>=\d{4}-\d\d-\d\dT/,
      )
  })

  test('fails where one backup is damaged, and still verifies and reports the others', async () => {
    const [whole, damaged] = await artifactsOfRuns()
    const folder = join(ghState(), 'artifacts', '3', 'database-backup-2')
    const archive = (await readdir(folder)).find((name) => name.endsWith('.dump.zst'))!
    const bytes = await readFile(join(folder, archive))
    bytes[bytes.length >> 1] ^= 1
    await writeFile(join(folder, archive), bytes)
    const run = await job('verify')
    expect(run.outcome).toBe('failure')
    expect(run.summary).toContain(`| ${whole} | passed | restore |`)
    expect(run.summary).toContain(`| ${damaged} | failed |`)
    expect(outcomes(run)['Keep the report']).toBe('success')
  })

  test('fails where a manifest is damaged or an artifact cannot be had, after verifying the others', async () => {
    const [whole] = await artifactsOfRuns()
    const folder = join(ghState(), 'artifacts', '3', 'database-backup-2')
    const manifest = (await readdir(folder)).find((name) => name.endsWith('.metadata.json'))!
    await writeFile(join(folder, manifest), '{"formatVersion": 1,')
    const damaged = await job('verify')
    expect(damaged.outcome).toBe('failure')
    expect(damaged.summary).toContain(`| ${whole} | passed | restore |`)
    await rm(join(runner.workspace, 'backups'), {recursive: true})
    await rm(folder, {recursive: true})
    const missing = await job('verify')
    expect(outcomes(missing)).toMatchObject({
      'Fetch the backups of the last eight days': 'success',
      'Verify all by restoring them': 'success',
      'Keep the report': 'success',
      'Tell of what could not be fetched': 'failure',
    })
    expect(missing.summary).toContain(`| ${whole} | passed | restore |`)
    expect(missing.log).toContain('The artifact database-backup-2 of the run 3 could not be downloaded.')
  })

  test('fails where there is no backup to verify', async () => {
    const runs = 'repos/someone/shop/actions/workflows/database-backup.yml/runs'
    for (const event of ['schedule', 'workflow_dispatch'])
      await answers(`${runs}_${event}`, {workflow_runs: []})
    const run = await job('verify')
    expect(outcomes(run)['See which server they are of']).toBe('failure')
    expect(run.log).toContain('There is no backup of the last eight days')
  })

  test('fetches from the cloud where a bucket is set, and asks for no artifacts', async () => {
    // One backup is damaged at the bucket: copy stores the others and says so by its exit code.
    const run = `exec '${process.execPath}' '${program}' "$@"`
    const copy = `if [ "$1" = copy ]; then cp -r "$0.source/." backups; exit 5; fi`
    await putProgram(runner, 'npx', `#!/bin/bash\n${record}shift 2\n${copy}\n${run}\n`)
    await dbbakJson(['backup', '--to', join(runner.bin, 'npx.source')], {
      env: {...env, DATABASE_URL: server.url('shop')},
    })
    const {summary, ...ended} = await job(
      'verify',
      scheduled({vars: {AWS_S3_BUCKET: 'shop', AWS_S3_PREFIX: 'daily'}}),
    )
    expect(summary).toMatch(/\| shop_\S+ \| passed \| restore \|/)
    expect(outcomes({summary, ...ended})).toMatchObject({
      'Verify all by restoring them': 'success',
      'Tell of what could not be fetched': 'failure',
    })
    expect(await callsOf(runner, 'npx')).toContainEqual(
      expect.stringMatching(`dbbak@${dbbakVersion} copy --since 8d --from s3://shop/daily --to backups`),
    )
    expect(await callsOf(runner, 'gh')).toEqual([])
  })
})

describe('the report', () => {
  const report = (backup: string, verify = 'skipped') =>
    job('report', {...scheduled(), needs: {backup: {result: backup}, verify: {result: verify}}})
  const issueCalls = async () =>
    (await callsOf(runner, 'gh')).flatMap((call) => /^gh (issue (?!list)\w+( 41)?)/.exec(call)?.[1] ?? [])

  test('one issue is opened, told of further failures, closed when it works again, and opened anew later', async () => {
    await report('success')
    expect(await issueCalls()).toEqual([])
    await report('failure')
    expect(await issueCalls()).toEqual(['issue create'])
    await report('failure')
    await report('cancelled')
    expect(await issueCalls()).toEqual(['issue create', 'issue comment 41', 'issue comment 41'])
    await report('success')
    await report('success')
    expect((await issueCalls()).slice(3)).toEqual(['issue close 41'])
    await report('failure')
    expect((await issueCalls()).slice(4)).toEqual(['issue create'])
    const [opened] = (await callsOf(runner, 'gh')).filter((call) => call.includes('issue create'))
    expect(opened).toContain('https://github.com/someone/shop/actions/runs/77')
    expect(opened).toContain('gh workflow run database-backup.yml')
  })

  test('a verification has an issue of its own: a backup that works does not close it', async () => {
    await report('skipped', 'failure')
    await report('success', 'skipped')
    expect(await issueCalls()).toEqual(['issue create'])
    await report('skipped', 'success')
    expect(await issueCalls()).toEqual(['issue create', 'issue close 41'])
  })

  test('where the repository has no issues, none is opened, and the report is no failure', async () => {
    await answers('repos/someone/shop', {visibility: 'private', has_issues: false})
    const {outcome, log} = await report('failure')
    expect({outcome, log}).toEqual({outcome: 'success', log: expect.stringContaining('::notice::')})
    expect(await issueCalls()).toEqual([])
  })

  test('a report that cannot be made fails the run', async () => {
    await putProgram(runner, 'gh', '#!/bin/sh\nexit 1\n')
    expect((await report('failure')).outcome).toBe('failure')
  })
})

describe('the composite action', () => {
  const act = async (inputs: Record<string, string>, extraEnv: Record<string, string> = {}) => {
    const defaults = Object.fromEntries(
      Object.entries(action.inputs).map(([name, input]) => [name, input.default]),
    )
    const own = await startRunner({
      env: {...env, TEST_DATABASE_URL: server.url('postgres', 'keeper', secret), ...extraEnv},
    })
    runners.push(own)
    for (const name of ['npx', 'sudo']) await cp(join(runner.bin, name), join(own.bin, name))
    runner = own
    const given = {...defaults, 'database-url': server.url('shop', 'keeper', secret), ...inputs}
    const run = await own.run(action.runs.steps, {inputs: given})
    expectNoSecret(run.log)
    return run
  }

  test('takes and verifies a backup, and gives its name, size and rows', async () => {
    const run = await act({})
    expect({outcome: run.outcome, log: run.log}).toEqual({outcome: 'success', log: expect.any(String)})
    const [archive, manifest] = await kept()
    const {id, content} = JSON.parse(await readFile(join(runner.workspace, 'backups', manifest), 'utf8'))
    expect(archive).toContain(id)
    expect(run.outputs.backup).toEqual({
      'backup-id': id,
      bytes: expect.stringMatching(/^\d+$/),
      rows: String(content.rowCount),
    })
    expect(await kept()).toContainEqual(expect.stringMatching(/\.verification\.json$/))
    expect((await callsOf(runner, 'npx')).at(-1)).not.toContain('--prune')
    for (const [name, {value}] of Object.entries(action.outputs))
      expect(value).toBe(`\${{ steps.backup.outputs.${name} }}`)
  })

  test('takes the database of the environment, where none is named', async () => {
    const run = await act({'database-url': ''}, {DATABASE_URL: server.url('shop', 'keeper', secret)})
    expect(run.outcome).toBe('success')
  })

  test('every input is an argument, and none is a command', async () => {
    const run = await act({
      to: 'backups\n\n$(touch pwned); second place\n',
      format: 'directory',
      'extra-args': '--exclude-table-data orders\n--label `touch pwned`',
      verify: 'none',
      'keep-days': '7',
      'client-major': '17',
    })
    expect({outcome: run.outcome, log: run.log}).toMatchObject({outcome: 'failure'}) // "pwned`" is no option of backup
    expect(await readdir(runner.workspace)).not.toContain('pwned')
    expect((await callsOf(runner, 'npx')).at(-1)).toContain(
      'backup --json --format=directory --to=backups --to=$(touch pwned); second place --globals --prune --exclude-table-data orders --label `touch pwned`',
    )
    expect((await callsOf(runner, 'sudo')).at(-1)!.trim()).toMatch(/ postgresql-client-17$/)
    const bad = await act({version: '1; touch pwned'})
    expect(outcomes(bad)['Fetch dbbak']).toBe('failure')
    expect(await callsOf(runner, 'npx')).toEqual([])
  })

  test('two destinations, a format, options and a retention reach the program', async () => {
    const run = await act({
      to: 'backups\nsecond place',
      format: 'plain',
      'extra-args': '--exclude-table-data  orders\n  --label nightly',
      'keep-days': '7',
    })
    expect({outcome: run.outcome, log: run.log}).toEqual({outcome: 'success', log: expect.any(String)})
    expect(await kept()).toContainEqual(expect.stringMatching(/\.sql\.zst$/))
    expect(await kept('second place')).toHaveLength(3) // archive, globals, manifest
    const told = JSON.parse(await readFile(join(runner.temporary, 'backup.json'), 'utf8'))
    expect(told).toMatchObject({verification: {verdict: 'passed'}, prune: {removed: []}})
    expect(JSON.stringify(told.prune.kept)).toContain('7 days')
  })

  test('leaves the roles out where that is asked for, whatever a config file says', async () => {
    await act({'client-major': '17', 'extra-args': '--no-such-option', globals: 'false'})
    expect((await callsOf(runner, 'npx')).at(-1)).toContain(' --no-globals ')
  })

  test('fails where the database cannot be reached, and says why; nothing is pruned', async () => {
    const run = await act({'database-url': 'postgresql://keeper@127.0.0.1:1/shop', 'keep-days': '7'})
    expect(outcomes(run)).toMatchObject({
      'Ask the server its version': 'failure',
      'Back up': 'skipped',
    })
    expect(run.log).toContain('SERVER_UNREACHABLE')
  })

  test('fails where one of two destinations does, and still names the backup', async () => {
    await writeFile(join(dirname(runner.workspace), 'file'), '')
    const run = await act({to: `backups\n${join(dirname(runner.workspace), 'file')}`})
    expect(outcomes(run)['Back up']).toBe('failure')
    expect(run.outputs.backup?.['backup-id']).toMatch(/^shop_/)
  })
})
