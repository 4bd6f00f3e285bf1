import type {Client} from 'pg'
import {connect} from '../../postgres/connect.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {quoteIdentifier} from '../../postgres/identifiers.js'
import {destroySession} from '../../postgres/session-guard.js'
import {DbbakError} from '../../support/errors.js'
import {findLeftDatabases} from '../restore/copy-names.js'
import {journalFinding, readJournal} from '../restore/journal.js'
import type {StatusFinding} from './finding.js'
import {formatBytes} from '../../support/figures.js'
import {countOf, someOf} from './wording.js'

/** Status is asked every few minutes: a server that does not answer must not hold it up. */
const patienceMs = 10_000

/** Whether restores were cut off at the database's server. A server that cannot be asked is a warning. */
export async function lookAtServer(
  connection: ConnectionDescription,
  signal: AbortSignal,
): Promise<StatusFinding[]> {
  const timeout = AbortSignal.timeout(patienceMs)
  try {
    return await asked(connection, AbortSignal.any([signal, timeout]))
  } catch (error) {
    signal.throwIfAborted()
    const {database} = connection
    const where = connection.redacted()
    if (timeout.aborted)
      return [
        unknown('SERVER_UNREACHABLE', `${where} did not answer within ${patienceMs / 1000} s`, database),
      ]
    if (error instanceof DbbakError) return [unknown(error.code, error.message.replace(/\.$/, ''), database)]
    // A query that the server refuses: what it says can hold no secret of ours, but nobody needs it here.
    return [unknown('QUERY_FAILED', `${where} refused to tell of its databases`, database)]
  }
}

const unknown = (code: DbbakError['code'], message: string, database: string): StatusFinding => ({
  code,
  severity: 'warning',
  message: `Whether a restore was cut off is not known: ${message}.`,
  ...(database === '' ? {} : {database}),
  suggestion: 'See what is wrong: dbbak doctor',
})

async function asked(connection: ConnectionDescription, signal: AbortSignal): Promise<StatusFinding[]> {
  const {client, description} = await connect(connection, {
    applicationName: 'dbbak status',
    signal,
    connectTimeoutMs: patienceMs / 2,
  })
  const stop = () => destroySession(client)
  signal.addEventListener('abort', stop, {once: true})
  try {
    signal.throwIfAborted()
    return [...(await cutOff(client, description.database)), ...(await leftDatabases(client))]
  } finally {
    signal.removeEventListener('abort', stop)
    if (signal.aborted) destroySession(client)
    else await client.end()
  }
}

/** Whatever the severity is for a restore: here it means that the database holds half of its content. */
async function cutOff(client: Client, database: string): Promise<StatusFinding[]> {
  const journal = await readJournal(client)
  if (!journal) return []
  const {message, fix} = journalFinding(journal)
  return [
    {
      code: 'RESTORE_CUT_OFF',
      severity: 'error',
      message,
      database,
      ...(fix === undefined ? {} : {suggestion: fix}),
    },
  ]
}

async function leftDatabases(client: Client): Promise<StatusFinding[]> {
  const left = await findLeftDatabases(client)
  if (left.length === 0) return []
  const what = ({name, kind, bytes}: (typeof left)[number]) =>
    `${name} (${kind}${bytes === null ? '' : `, ${formatBytes(bytes)}`})`
  return [
    {
      code: 'RESTORE_LEFTOVERS',
      severity: 'warning',
      message: `${countOf(left.length, 'database')} left on the server by restores: ${someOf(left.map(what))}.`,
      suggestion: `When you do not need ${left.length === 1 ? 'it' : 'them'}: ${left.map(({name}) => `DROP DATABASE ${quoteIdentifier(name)};`).join(' ')}`,
    },
  ]
}
