import type {Client} from 'pg'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {maintenanceConnection} from '../../postgres/maintenance.js'
import type {ServerDescription} from '../../postgres/server.js'
import {DbbakError} from '../../support/errors.js'
import type {Manifest} from '../manifest.js'
import type {Finding} from './findings.js'
import {locksNeeded, query, usableLocks} from './target.js'

export type StrategyName = 'swap' | 'in-place'

/** How a content is replaced in place. */
export type Way = 'transaction' | 'steps' | 'part'

export type Strategy =
  | {name: 'in-place'; way: Way; reason: string}
  | {name: 'swap'; reason: string; maintenance: ConnectionDescription}

interface Subject {
  client: Client
  server: ServerDescription
  connection: ConnectionDescription
  /** A restore of this target in steps was cut off. */
  isCutOff: boolean
  /** Only a part of the backup is to be restored. */
  isPart: boolean
}

const swapReason =
  'a copy is restored and checked beside the target, then the names are swapped; until then nothing changes'
const wayReasons: Record<Way, string> = {
  transaction: 'one transaction: whatever fails before its end is undone by the server itself',
  steps:
    'step by step, since the server has no room for the locks of one transaction; the safety backup is the way back, and a journal tells of it if this is cut off',
  part: 'only the part is replaced, in one transaction: whatever fails before its end is undone by the server itself',
}

/** Swap where the server lets us, unless something else was asked for; and why. */
export async function chooseStrategy(
  subject: Subject,
  manifest: Manifest,
  wanted: 'auto' | StrategyName,
  signal: AbortSignal,
): Promise<Strategy | {finding: Finding}> {
  const {isPart, isCutOff} = subject
  if (wanted === 'in-place' || (wanted === 'auto' && (isPart || isCutOff)))
    return inPlace(await wayFor(subject, manifest))
  if (isPart) return {finding: swapNotPossible('only a part of the backup is to be restored')}
  const obstacle = await firstObstacle(subject, manifest)
  const maintenance = obstacle ?? (await reachMaintenance(subject, signal))
  if (typeof maintenance !== 'string') return {name: 'swap', reason: swapReason, maintenance}
  if (wanted === 'auto') return inPlace(await wayFor(subject, manifest), ` (no swap: ${maintenance})`)
  return {finding: swapNotPossible(maintenance)}
}

const inPlace = (way: Way, why = ''): Strategy => ({
  name: 'in-place',
  way,
  reason: wayReasons[way] + why,
})

const swapNotPossible = (why: string): Finding => ({
  code: 'SWAP_NOT_POSSIBLE',
  severity: 'error',
  message: `The target cannot be swapped for a copy: ${why}.`,
  fix: 'Replace its content instead: dbbak restore --strategy in-place',
})

/** What was begun in steps is ended in steps: there the journal is known. */
async function wayFor({client, server, isCutOff, isPart}: Subject, {content}: Manifest): Promise<Way> {
  if (isPart) return 'part'
  const needed = await locksNeeded(client, content.tableCount)
  return isCutOff || needed > usableLocks(server.lockTable) ? 'steps' : 'transaction'
}

async function reachMaintenance(
  {connection, server}: Subject,
  signal: AbortSignal,
): Promise<ConnectionDescription | string> {
  try {
    return await maintenanceConnection(connection, server.database.name, signal)
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof DbbakError) return `no other database of the server can be reached (${error.code})`
    throw error
  }
}

/** Each gives what stands against a swap, where something does. */
const obstacles: ((subject: Subject, manifest: Manifest) => Promise<string | undefined>)[] = [
  rightToCreate,
  rightToGiveAway,
  rightToTablespace,
  untrustedExtensions,
  logicalSlots,
  subscriptions,
]

async function firstObstacle(subject: Subject, manifest: Manifest): Promise<string | undefined> {
  for (const obstacle of obstacles) {
    const found = await obstacle(subject, manifest)
    if (found !== undefined) return found
  }
  return undefined
}

async function rightToCreate({client, server}: Subject): Promise<string | undefined> {
  if (server.isSuperuser) return undefined
  const [row] = await query<{may: boolean}>(
    client,
    'select rolcreatedb as may from pg_catalog.pg_roles where rolname = current_user',
  )
  return row?.may ? undefined : `the role ${server.role} may not create databases`
}

/** The copy gets the target's owner, security labels and settings of roles, which an ordinary role may not all give. */
async function rightToGiveAway({client, server}: Subject): Promise<string | undefined> {
  if (server.isSuperuser) return undefined
  const canBecome = server.major >= 16 ? 'set' : 'member'
  const [row] = await query<{owner: boolean; labels: boolean; settings: boolean}>(
    client,
    `select pg_catalog.pg_has_role(d.datdba, '${canBecome}') as owner,
            exists (select from pg_catalog.pg_shseclabel l where l.objoid = d.oid and l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass) as labels,
            exists (select from pg_catalog.pg_db_role_setting s where s.setdatabase = d.oid and s.setrole <> 0) as settings
       from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()`,
  )
  if (!row?.owner) return `the role ${server.role} may not give a database to ${server.database.owner}`
  if (row.labels) return 'its security labels can be given only by a superuser'
  return row.settings ? 'its settings of single roles can be given only by a superuser' : undefined
}

async function rightToTablespace({client, server}: Subject): Promise<string | undefined> {
  const [row] = await query<{name: string; may: boolean}>(
    client,
    `select t.spcname as name, pg_catalog.has_tablespace_privilege(t.oid, 'create') as may
       from pg_catalog.pg_database d join pg_catalog.pg_tablespace t on t.oid = d.dattablespace
      where d.datname = pg_catalog.current_database()
        and d.dattablespace <> (select dattablespace from pg_catalog.pg_database where datname = 'template0')`,
  )
  return row && !row.may ? `the role ${server.role} may not create in the tablespace ${row.name}` : undefined
}

/** In place an extension of somebody else stays; in a copy it would have to be created. */
async function untrustedExtensions(
  {client, server}: Subject,
  {content}: Manifest,
): Promise<string | undefined> {
  if (server.isSuperuser) return undefined
  const [row] = await query<{name: string}>(
    client,
    `select a.name from pg_catalog.pg_available_extensions a
       join pg_catalog.pg_available_extension_versions v on v.name = a.name and v.version = a.default_version
      where a.name = any ($1) and v.superuser and not v.trusted limit 1`,
    [content.extensions.map(({name}) => name).filter((name) => name !== 'plpgsql')],
  )
  return row && `the extension ${row.name} can be created only by a superuser`
}

async function logicalSlots({client}: Subject): Promise<string | undefined> {
  const [row] = await query<{name: string}>(
    client,
    'select slot_name as name from pg_catalog.pg_replication_slots where database = pg_catalog.current_database() limit 1',
  )
  return row && `the replication slot ${row.name} belongs to it and would be lost`
}

async function subscriptions({client}: Subject): Promise<string | undefined> {
  const [row] = await query<{name: string}>(
    client,
    `select subname as name from pg_catalog.pg_subscription
      where subdbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()) limit 1`,
  )
  return row && `the subscription ${row.name} belongs to it and would be lost`
}
