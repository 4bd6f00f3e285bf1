import type {Client} from 'pg'
import {toolsForDump, type ToolSearch} from '../../postgres/client-tools.js'
import {connect} from '../../postgres/connect.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {quoteIdentifier} from '../../postgres/identifiers.js'
import {explained} from '../../postgres/query-errors.js'
import {describeServer, prepareSession, type ServerDescription} from '../../postgres/server.js'
import {DbbakError} from '../../support/errors.js'
import {readRelations} from '../content/relations.js'
import {recommendedLocks} from '../backup/lock-check.js'
import {findLeftDatabases} from '../restore/copy-names.js'
import {journalFinding, readJournal} from '../restore/journal.js'
import type {DoctorCheck} from './diagnosis.js'

/** Reaches the database and looks whether a backup of it would work. */
export async function checkDatabase(
  connection: ConnectionDescription,
  search: ToolSearch,
  signal: AbortSignal,
): Promise<DoctorCheck[]> {
  try {
    const {client} = await connect(connection, {applicationName: 'dbbak doctor', signal})
    try {
      await prepareSession(client, 5000)
      const server = await describeServer(client)
      const reached: DoctorCheck = {
        name: 'database',
        status: 'ok',
        message: `${connection.redacted()}: PostgreSQL ${server.version}, ${server.database.encoding}, role ${server.role}${server.isSuperuser ? ' (superuser)' : ''}${server.inRecovery ? ', a replica' : ''}`,
      }
      const tables = (await readRelations(client, null, server.inRecovery)).filter(
        ({kind}) => kind !== 'foreign',
      ).length
      return [
        reached,
        checkLocks(server, tables),
        await checkTools(server, search),
        ...(await checkCutOff(client)),
        ...(await checkLeftDatabases(client)),
      ]
    } finally {
      await client.end()
    }
  } catch (error) {
    return [problem('database', error)]
  }
}

function checkLocks({lockTable}: ServerDescription, tables: number): DoctorCheck {
  const name = 'lock table'
  const count = `${tables} ${tables === 1 ? 'table' : 'tables'}`
  if (tables + 200 <= lockTable.capacity)
    return {
      name,
      status: 'ok',
      message: `${count}; the server has room for ${lockTable.capacity} locks`,
    }
  return {
    name,
    status: 'error',
    message: `${count}, and the server has room for ${lockTable.capacity} locks: no dump of all of them would work (max_locks_per_transaction).`,
    fix: `On the server: ALTER SYSTEM SET max_locks_per_transaction = ${recommendedLocks(tables, lockTable)}; then restart it`,
  }
}

/** A restore in steps that was killed has left incomplete content. */
async function checkCutOff(client: Client): Promise<DoctorCheck[]> {
  const journal = await readJournal(client)
  if (!journal) return []
  const {message, fix} = journalFinding(journal)
  return [{name: 'cut-off restore', status: 'error', message, ...(fix ? {fix} : {})}]
}

/** What restores that were cut off have left on this server, whatever database they were for. */
async function checkLeftDatabases(client: Client): Promise<DoctorCheck[]> {
  return (await findLeftDatabases(client)).map(({name, kind, bytes}) => ({
    name: 'leftovers',
    status: 'warning',
    message: `A restore left the database ${name} on the server (${kind}${bytes === null ? '' : `, ${Math.round(bytes / 1e6)} MB`})`,
    fix: `When you do not need it: DROP DATABASE ${quoteIdentifier(name)}`,
  }))
}

async function checkTools(server: ServerDescription, search: ToolSearch): Promise<DoctorCheck> {
  try {
    const tools = await toolsForDump(server.major, search)
    return {name: 'tools for this server', status: 'ok', message: `${tools.version} in ${tools.folder}`}
  } catch (error) {
    return problem('tools for this server', error)
  }
}

/** An error as a finding. @throws what is not one of ours */
export function problem(name: string, thrown: unknown): DoctorCheck {
  const error = explained(thrown, `looking at the ${name}`)
  if (!(error instanceof DbbakError)) throw error
  const [fix] = error.suggestions
  return {name, status: 'error', message: `${error.code}: ${error.message}`, ...(fix ? {fix} : {})}
}
