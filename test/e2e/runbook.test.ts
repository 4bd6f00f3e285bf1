import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {mkdtemp, readdir, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {delimiter, dirname, join} from 'node:path'
import {findClientTools} from '../../src/postgres/client-tools.js'
import {readmeBlocks} from '../support/readme.js'
import {startServer, type TestServer} from '../support/servers.js'
import {enter, onTerminal} from '../support/terminal.js'
import {repository} from '../support/workflow-steps.js'
import {dbbakJson, toolSettings} from './program.js'

const [runbook, ...others] = readmeBlocks('Runbook: disaster recovery', 'sh')
const example = {
  from: 's3://acme-backups/shop',
  server: 'postgresql://postgres@db-new.internal:5432',
  name: 'shop_2025-01-15T14-30-00-000Z',
}

let lost: TestServer
let fresh: TestServer
let folder: string
let env: Record<string, string | undefined>
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runbook-'))
  lost = await startServer({overTcp: true})
  fresh = await startServer({overTcp: true, major: lost.major})
  const settings = await toolSettings(lost.major)
  const [tools] = await findClientTools({env: {...process.env, ...settings}})
  const program = process.env.DBBAK_TEST_PROGRAM ?? join(repository, 'bin/run.js')
  await writeFile(join(folder, 'dbbak'), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`, {
    mode: 0o755,
  })
  env = {
    ...settings,
    HOME: folder,
    PATH: [folder, dirname(tools.dump), process.env.PATH].join(delimiter),
  }
  await lost.createDatabase('shop')
  await lost.psql(
    `create role app login password 'precious'; create role auditor;
     create table orders as select generate_series(1, 300) as id; alter table orders owner to app;
     grant select on orders to auditor`,
    'shop',
  )
})
afterAll(async () => {
  await Promise.all([lost?.stop(), fresh?.stop()])
  if (folder) await rm(folder, {recursive: true, force: true})
})

test('the runbook, typed as it stands, brings a lost database back on a new server', async () => {
  expect(others).toEqual([])
  const backups = join(folder, 'backups')
  const {backup} = await dbbakJson(['backup', '--globals', '-d', lost.url('shop'), '--to', backups], {env})
  await lost.stop()

  const place = new URL(fresh.url('postgres'))
  place.pathname = ''
  let script = runbook
  for (const [from, to] of [
    [example.from, backups],
    [example.server, place.href],
    [example.name, backup.id as string],
  ]) {
    expect(script.split(from)).toHaveLength(2)
    script = script.replace(from, `'${to}'`)
  }
  await writeFile(join(folder, 'runbook.sh'), script)
  const {screen, exitCode} = await onTerminal(
    'bash runbook.sh',
    [
      [/Type RESTORE to go ahead:/, `RESTORE${enter}`],
      [/Enter new password.*:/, `anew${enter}`],
      [/Enter it again:/, `anew${enter}`],
    ],
    {env, cwd: folder},
  )
  expect({exitCode, screen}).toEqual({exitCode: 0, screen})

  const [orders] = await fresh.query(
    `select count(*)::int as rows, (select tableowner from pg_tables where tablename = 'orders') as owner,
            has_table_privilege('auditor', 'orders', 'select') as readable from orders`,
    'shop',
  )
  expect(orders).toEqual({rows: 300, owner: 'app', readable: true})
  const copies = (await readdir(join(folder, 'recovery'))).filter((name) => name.endsWith('.metadata.json'))
  expect(copies).toEqual([expect.stringContaining(backup.id)])
  const {backups: listed} = await dbbakJson(['list', '--from', backups], {env})
  expect(listed).toMatchObject([{label: 'after the accident'}, {id: backup.id}])
})
