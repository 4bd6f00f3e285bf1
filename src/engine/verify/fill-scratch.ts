import type {Client} from 'pg'
import type {ClientTools} from '../../postgres/client-tools.js'
import {connect} from '../../postgres/connect.js'
import {lendSession} from '../../postgres/lent-session.js'
import type {StoredBackup} from '../archive/open-archive.js'
import {createSelectedSchemas} from '../archive/selected-schemas.js'
import {runRestoreTool, type RestoreToolResult} from '../archive/run-restore-tool.js'
import type {ScratchDatabase} from './scratch-database.js'
import {scratchStatements} from './scratch-statements.js'

export interface FillDeps {
  tools: ClientTools
  env: Record<string, string | undefined>
  signal: AbortSignal
  onProgress?: ((bytes: number) => void) | undefined
}

/** A copy must reach nothing outside: no subscriptions; owners and grants need roles that a scratch server lacks. */
const scratchOptions = [
  '--no-owner',
  '--no-privileges',
  '--no-subscriptions',
  '--no-publications',
  '--no-tablespaces',
]

/** Restores a backup into a scratch database; what went wrong is in the result, for judging. */
export async function fillScratch(
  database: ScratchDatabase,
  backup: StoredBackup,
  deps: FillDeps,
): Promise<RestoreToolResult> {
  const {client} = await connect(database.connection, {applicationName: 'dbbak verify', signal: deps.signal})
  try {
    const {manifest} = backup.entry
    await createSelectedSchemas(client, manifest)
    if (manifest.format === 'plain') return await fillThroughSession(client, database, backup, deps)
  } finally {
    await client.end().catch(() => {}) // given back, or closed already
  }
  return runRestoreTool({
    ...request(database, backup, deps),
    options: scratchOptions,
    stopAtFirstError: false,
  })
}

function request(
  database: ScratchDatabase,
  backup: StoredBackup,
  {tools, env, signal, onProgress}: FillDeps,
) {
  return {
    backup,
    tools,
    env: database.connection.toolEnvironment(env),
    database: database.connection.databaseArgument(),
    signal,
    onProgress,
  }
}

/**
 * psql has no options to leave something out, so it speaks to the server through us. It stops at the first error: where
 * a table could not be made, it would take the rows that follow for statements, and run whatever is written in them.
 */
async function fillThroughSession(
  client: Client,
  database: ScratchDatabase,
  backup: StoredBackup,
  deps: FillDeps,
): Promise<RestoreToolResult> {
  const missingRoles = await rolesMissing(client, backup.entry.manifest.content.roles)
  const loan = await lendSession(client, {inTransaction: false, standIn: scratchStatements(missingRoles)})
  try {
    const whole = request(database, backup, deps)
    return await runRestoreTool({
      ...whole,
      env: {...whole.env, ...loan.environment},
      options: [],
      stopAtFirstError: true,
    })
  } finally {
    await loan.abandon()
  }
}

async function rolesMissing(client: Client, roles: string[]): Promise<string[]> {
  const {rows} = await client.query<{name: string}>(
    'select name from unnest($1::text[]) wanted (name) where not exists (select from pg_catalog.pg_roles where rolname = name)',
    [roles],
  )
  return rows.map(({name}) => name)
}
