import type {Client} from 'pg'
import {toolsForRestore, type ClientTools, type ToolSearch} from '../../postgres/client-tools.js'
import {asQueryError} from '../../postgres/connect.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {claimDatabase, claimHolders} from '../../postgres/operation-lock.js'
import {describeServer, type ServerDescription} from '../../postgres/server.js'
import {DbbakError} from '../../support/errors.js'
import type {StoredBackup} from '../archive/open-archive.js'
import {recommendedLocks} from '../backup/lock-check.js'
import type {Manifest} from '../manifest.js'
import {asFinding, throwOnErrors, type Finding} from './findings.js'
import {checkForeignObjects, checkPreparedTransactions} from './preflight-objects.js'
import {leaveSession, openTargetSession, type TargetSession} from './target-session.js'
import {
  describeContent,
  describeSession,
  locksNeeded,
  otherSessions,
  query,
  usableLocks,
  type TargetContent,
} from './target.js'

export interface PreflightOptions {
  noOwner: boolean
  noPrivileges: boolean
  terminateConnections: boolean
  /** A restore waits so long for a lock of somebody else before it gives up unharmed. */
  lockTimeoutMs: number
}

/** A target that a restore can begin on: claimed, described, with a session of ours in it. */
export interface Target extends TargetSession {
  lockTimeoutMs: number
  server: ServerDescription
  content: TargetContent
  tools: ClientTools
  findings: Finding[]
}

/**
 * Looks at everything that could stop this restore, and reports it all at once.
 * @throws DbbakError PREFLIGHT_FAILED with every finding; OPERATION_IN_PROGRESS when another dbbak is at work there
 */
export async function preflight(
  backup: StoredBackup,
  options: PreflightOptions,
  deps: {connection: ConnectionDescription; search: ToolSearch; signal: AbortSignal},
): Promise<Target> {
  const tools = await attempt(toolsForRestore(dumpMajor(backup.entry.manifest), deps.search))
  const session = await attempt(openTargetSession(deps.connection, options.lockTimeoutMs, deps.signal))
  const missingTools = 'finding' in tools ? [tools.finding] : []
  if ('finding' in session) return fail([session.finding, ...missingTools])
  const {client} = session.value
  try {
    const server = await describeServer(client)
    await claim(client, server)
    const content = await describeContent(client, server)
    const findings = await examine({client, server, content}, backup.entry.manifest, options)
    if ('finding' in tools) return fail([...missingTools, ...findings])
    throwOnErrors(findings)
    const {lockTimeoutMs} = options
    return {...session.value, lockTimeoutMs, server, content, tools: tools.value, findings}
  } catch (error) {
    await leaveSession(session.value)
    deps.signal.throwIfAborted()
    throw asQueryError(error, 'looking at the target')
  }
}

type Attempt<T> = {value: T} | {finding: Finding}

async function attempt<T>(work: Promise<T>): Promise<Attempt<T>> {
  try {
    return {value: await work}
  } catch (error) {
    if (error instanceof DbbakError && error.code !== 'INTERRUPTED' && error.code !== 'TERMINATED')
      return {finding: asFinding(error)}
    throw error
  }
}

function fail(findings: Finding[]): never {
  throwOnErrors(findings)
  throw new DbbakError('INTERNAL', 'A preflight failed without a finding.')
}

const dumpMajor = ({client}: Manifest) => Number.parseInt(client.pgDumpVersion, 10)

async function claim(client: Client, {database}: ServerDescription): Promise<void> {
  if (await claimDatabase(client, 'exclusive')) return
  const holders = await claimHolders(client)
  throw new DbbakError(
    'OPERATION_IN_PROGRESS',
    `Another dbbak backup or restore of ${database.name} is running${holders.length > 0 ? ` (${holders.join('; ')})` : ''}.`,
    {
      suggestions: ['Wait until it has ended, then try again.'],
    },
  )
}

interface Subject {
  client: Client
  server: ServerDescription
  content: TargetContent
}

async function examine(subject: Subject, manifest: Manifest, options: PreflightOptions): Promise<Finding[]> {
  const checks = [
    checkServer,
    checkPrivileges,
    checkForeignObjects,
    checkRoles,
    checkExtensions,
    checkLocks,
    checkSessions,
    checkPreparedTransactions,
    checkSubscriptions,
    checkSelection,
  ]
  const findings: Finding[] = []
  for (const check of checks) findings.push(...(await check(subject, manifest, options)))
  return findings
}

const error = (code: string, message: string, fix: string): Finding => ({
  code,
  severity: 'error',
  message,
  fix,
})
const warning = (code: string, message: string): Finding => ({code, severity: 'warning', message})

function checkServer({server}: Subject, {database}: Manifest): Finding[] {
  const findings: Finding[] = []
  const from = Number.parseInt(database.serverVersion, 10)
  if (server.inRecovery)
    findings.push(
      error(
        'TARGET_IS_REPLICA',
        'The target is a replica and cannot be written to.',
        'Name the primary: dbbak restore --database-url …',
      ),
    )
  if (from > server.major) {
    findings.push(
      error(
        'TARGET_SERVER_OLDER',
        `The backup is of PostgreSQL ${database.serverVersion}; the target is ${server.version} and would not understand all of it.`,
        `Restore into a server of version ${from} or newer.`,
      ),
    )
  }
  if (database.encoding !== server.database.encoding) {
    findings.push(
      warning(
        'ENCODING_DIFFERS',
        `The backup's encoding is ${database.encoding}, the target's ${server.database.encoding}: characters that it lacks stop the restore.`,
      ),
    )
  }
  return findings
}

async function checkPrivileges({client, server}: Subject): Promise<Finding[]> {
  const [row] = await query<{owner: boolean}>(
    client,
    `select pg_catalog.pg_has_role(datdba, 'usage') as owner from pg_catalog.pg_database where datname = pg_catalog.current_database()`,
  )
  if (row?.owner || server.isSuperuser) return []
  return [
    error(
      'NOT_OWNER',
      `The role ${server.role} does not own the database ${server.database.name}, so it may not replace what is in it.`,
      `Restore as ${server.database.owner}, or: ALTER DATABASE ${server.database.name} OWNER TO ${server.role}`,
    ),
  ]
}

async function checkRoles(
  {client, server}: Subject,
  {content}: Manifest,
  {noOwner, noPrivileges}: PreflightOptions,
): Promise<Finding[]> {
  if (noOwner && noPrivileges) return []
  const rows = await query<{name: string; there: boolean; member: boolean}>(
    client,
    `select w.name, r.oid is not null as there, coalesce(pg_catalog.pg_has_role(r.oid, 'member'), false) as member
       from unnest($1::text[]) w(name) left join pg_catalog.pg_roles r on r.rolname = w.name`,
    [content.roles],
  )
  const owners = content.owners ?? content.roles
  const missing = rows.filter(({there}) => !there).map(({name}) => name)
  if (missing.length > 0) {
    return [
      error(
        'ROLES_MISSING',
        `The backup names roles that the target lacks: ${missing.join(', ')}.`,
        `Create them first (${missing
          .slice(0, 3)
          .map((name) => `CREATE ROLE "${name}"`)
          .join('; ')}), or give everything to ${server.role}: dbbak restore --no-owner --no-privileges`,
      ),
    ]
  }
  const foreign =
    noOwner || server.isSuperuser
      ? []
      : rows.filter(({name, member}) => !member && owners.includes(name)).map(({name}) => name)
  if (foreign.length === 0) return []
  return [
    error(
      'ROLES_FOREIGN',
      `The role ${server.role} may not give objects to ${foreign.join(', ')}, of which it is no member.`,
      'Restore as a superuser, or: dbbak restore --no-owner --no-privileges',
    ),
  ]
}

async function checkExtensions({client}: Subject, {content}: Manifest): Promise<Finding[]> {
  const rows = await query<{name: string; version: string | null}>(
    client,
    `select w.name, a.default_version as version from unnest($1::text[]) w(name) left join pg_catalog.pg_available_extensions a on a.name = w.name`,
    [content.extensions.map(({name}) => name)],
  )
  const missing = rows.filter(({version}) => version === null).map(({name}) => name)
  if (missing.length === 0) return []
  const wanted = content.extensions
    .filter(({name}) => missing.includes(name))
    .map(({name, version}) => `${name} ${version}`)
  return [
    error(
      'EXTENSIONS_MISSING',
      `The backup needs extensions that are not installed on the target's server: ${wanted.join(', ')}.`,
      `Install their packages on the server (for example: apt-get install postgresql-<major>-${missing[0]}).`,
    ),
  ]
}

async function checkLocks({client, server}: Subject, {content}: Manifest): Promise<Finding[]> {
  const needed = await locksNeeded(client, content.tableCount)
  if (needed <= usableLocks(server.lockTable)) return []
  const value = recommendedLocks(needed, server.lockTable)
  return [
    error(
      'LOCK_TABLE_TOO_SMALL',
      `Replacing everything in one transaction takes some ${needed} locks; the server has room for ${server.lockTable.capacity}.`,
      `On the server: ALTER SYSTEM SET max_locks_per_transaction = ${value}; then restart it.`,
    ),
  ]
}

async function checkSessions(
  {client, server}: Subject,
  _: Manifest,
  {terminateConnections}: PreflightOptions,
): Promise<Finding[]> {
  // Another dbbak that came too late for the claim, which we hold, is about to leave.
  const others = (await otherSessions(client)).filter(({application}) => !application.startsWith('dbbak '))
  if (others.length === 0) return []
  const who = others.slice(0, 5).map(describeSession)
  const message = `${others.length} other ${others.length === 1 ? 'session is' : 'sessions are'} connected to ${server.database.name}: ${who.join('; ')}${others.length > 5 ? '; …' : ''}.`
  if (terminateConnections) return [warning('ACTIVE_CONNECTIONS', `${message} They will be ended.`)]
  return [
    error(
      'ACTIVE_CONNECTIONS',
      message,
      'Stop what uses the database, or end them: dbbak restore --terminate-connections',
    ),
  ]
}

async function checkSubscriptions({client}: Subject): Promise<Finding[]> {
  const rows = await query<{name: string}>(
    client,
    `select subname as name from pg_catalog.pg_subscription
      where subdbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())`,
  )
  if (rows.length === 0) return []
  return [
    error(
      'TARGET_HAS_SUBSCRIPTIONS',
      `The target has the subscription ${rows[0]?.name}; a subscription cannot be dropped in a transaction.`,
      `Drop it first: DROP SUBSCRIPTION "${rows[0]?.name}"`,
    ),
  ]
}

/** A backup of some tables would replace everything by these. */
function checkSelection({content}: Subject, {selection}: Manifest): Finding[] {
  if (selection === null || content.isEmpty) return []
  return [
    error(
      'PARTIAL_BACKUP',
      'The backup holds only a selection of its database; in place it would replace everything else too.',
      'Restore it into an empty database: createdb part && dbbak restore --database-url …/part',
    ),
  ]
}
