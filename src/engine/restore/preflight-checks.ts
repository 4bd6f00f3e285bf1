import type {Client} from 'pg'
import {quoteIdentifier} from '../../postgres/identifiers.js'
import type {ServerDescription} from '../../postgres/server.js'
import {recommendedLocks} from '../backup/lock-check.js'
import type {Manifest} from '../manifest.js'
import {globalsName} from '../naming.js'
import type {StrategyName, Way} from './choose-strategy.js'
import {findLeftDatabases, type LeftDatabase} from './copy-names.js'
import type {Finding} from './findings.js'
import type {PreflightOptions} from './preflight.js'
import {checkServerVersions} from './version-findings.js'
import {checkForeignObjects, checkPreparedTransactions} from './preflight-objects.js'
import type {MissingRoles} from './restore-roles.js'
import {checkSessions} from './session-checks.js'
import {locksNeeded, query, type TargetContent} from './target.js'

export interface Subject {
  client: Client
  server: ServerDescription
  content: TargetContent
  strategy: StrategyName
  way: Way | undefined
  /** A restore of this target in steps was cut off. */
  isCutOff: boolean
  /** Those that `--globals` will make. */
  rolesToCreate: MissingRoles
}

const always = [
  checkServer,
  checkPrivileges,
  checkRoles,
  checkExtensions,
  checkSessions,
  checkPreparedTransactions,
  checkSelection,
  checkLeftDatabases,
]
/** A swap drops the database as a whole, which its owner may do whatever is in it; of a part see part-obstacles.ts. */
const inPlaceOnly = [checkForeignObjects, checkSteps, checkSubscriptions]

/** Everything that stands against a restore, or that whoever starts it should know. */
export async function examine(
  subject: Subject,
  manifest: Manifest,
  options: PreflightOptions,
): Promise<Finding[]> {
  const {strategy, way} = subject
  const checks = strategy === 'in-place' && way !== 'part' ? [...always, ...inPlaceOnly] : always
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

function checkServer({server}: Subject, {database}: Manifest, {forceVersion}: PreflightOptions): Finding[] {
  const findings: Finding[] = []
  if (server.inRecovery)
    findings.push(
      error(
        'TARGET_IS_REPLICA',
        'The target is a replica and cannot be written to.',
        'Name the primary: dbbak restore --database-url …',
      ),
    )
  findings.push(...checkServerVersions(database.serverVersion, server, forceVersion))
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
  {client, server, rolesToCreate}: Subject,
  {content, files, id}: Manifest,
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
  const {whyNone} = rolesToCreate
  const missing = rows
    .filter(({name, there}) => !there && !rolesToCreate.names.includes(name))
    .map(({name}) => name)
  if (missing.length > 0) {
    const hasGlobals = !whyNone && files.some(({path}) => path === globalsName(id))
    return [
      error(
        'ROLES_MISSING',
        `The backup names roles that the target lacks: ${missing.join(', ')}.${whyNone ? ` ${whyNone}, so it cannot make them.` : ''}`,
        `Create them first (${missing
          .slice(0, 3)
          .map((name) => `CREATE ROLE "${name}"`)
          .join(
            '; ',
          )}), ${hasGlobals ? 'or as they were: dbbak restore --globals, ' : ''}or give everything to ${server.role}: dbbak restore --no-owner --no-privileges`,
      ),
    ]
  }
  const foreign =
    noOwner || server.isSuperuser
      ? []
      : rows
          .filter(({name, there, member}) => there && !member && owners.includes(name))
          .map(({name}) => name)
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

/** Without a transaction there must be another way back. */
async function checkSteps(
  {client, server, content, way, isCutOff}: Subject,
  manifest: Manifest,
  {safetyBackup}: PreflightOptions,
): Promise<Finding[]> {
  if (way !== 'steps' || isCutOff || safetyBackup || content.isEmpty) return []
  const needed = await locksNeeded(client, manifest.content.tableCount)
  const value = recommendedLocks(needed, server.lockTable)
  return [
    error(
      'LOCK_TABLE_TOO_SMALL',
      `Replacing everything in one transaction takes some ${needed} locks; the server has room for ${server.lockTable.capacity}. Step by step it needs a safety backup.`,
      `Leave out --no-safety-backup. Or on the server: ALTER SYSTEM SET max_locks_per_transaction = ${value}; then restart it.`,
    ),
  ]
}

const leftBy: Record<LeftDatabase['kind'], string> = {
  'unfinished copy': 'An earlier restore that was cut off left an unfinished copy',
  'former content': 'An earlier restore left the former content',
}

/** What killed restores left. Nothing is dropped unasked. */
async function checkLeftDatabases({client, server}: Subject): Promise<Finding[]> {
  const left = await findLeftDatabases(client, server.database.name)
  return left.map(({name, kind}) => ({
    ...warning('DATABASE_LEFT', `${leftBy[kind]} beside the target: ${name}.`),
    fix: `When you do not need it: DROP DATABASE ${quoteIdentifier(name)}`,
  }))
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
function checkSelection({content, way}: Subject, {selection}: Manifest): Finding[] {
  if (selection === null || content.isEmpty || way === 'part') return []
  return [
    error(
      'PARTIAL_BACKUP',
      'The backup holds only a selection of its database; in place it would replace everything else too.',
      'Restore it into an empty database: createdb part && dbbak restore --database-url …/part',
    ),
  ]
}
