import type {Client} from 'pg'
import {toolsForRestore, type ClientTools, type ToolSearch} from '../../postgres/client-tools.js'
import {asQueryError} from '../../postgres/connect.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {claimDatabase, claimHolders} from '../../postgres/operation-lock.js'
import {describeServer, type ServerDescription} from '../../postgres/server.js'
import type {StorageProvider} from '../../storage/provider.js'
import {DbbakError} from '../../support/errors.js'
import type {StoredBackup} from '../archive/open-archive.js'
import type {Manifest} from '../manifest.js'
import {chooseStrategy, type Strategy, type StrategyName} from './choose-strategy.js'
import {asFinding, throwOnErrors, type Finding} from './findings.js'
import {examine} from './preflight-checks.js'
import {withCreation} from './missing-database.js'
import {journalFinding, readJournal, type RestoreJournal, type UnreadableJournal} from './journal.js'
import {readArchiveEntries} from '../archive/archive-entries.js'
import {choosePart} from './part/choose-part.js'
import {findPartObstacles} from './part/part-obstacles.js'
import type {ChosenPart, Part} from './part/part.js'
import {checkTargetSpace} from './target-space.js'
import {checkSafetySpace} from './safety-space.js'
import {missingRoles, type MissingRoles} from './restore-roles.js'
import {checkPsql} from './version-findings.js'
import {leaveSession, openTargetSession, type TargetSession} from './target-session.js'
import {describeContent, type TargetContent} from './target.js'

export interface PreflightOptions {
  /** Also into an older server than the backup's. */
  forceVersion: boolean
  /** Make the roles that the backup's globals hold and the server lacks. */
  globals: boolean
  safetyBackup: boolean
  /** Only these schemas and tables; undefined: everything. */
  part: Part | undefined
  strategy: 'auto' | StrategyName
  noOwner: boolean
  noPrivileges: boolean
  terminateConnections: boolean
  /** Something runs once it was agreed to, which may end the sessions of others. */
  mayEndSessions?: boolean | undefined
  /** A restore waits so long for a lock of somebody else before it gives up unharmed. */
  lockTimeoutMs: number
}

/** A target that a restore can begin on: claimed, described, with a session of ours in it. */
export interface Target extends TargetSession {
  lockTimeoutMs: number
  server: ServerDescription
  content: TargetContent
  strategy: Strategy
  tools: ClientTools
  findings: Finding[]
  /** Made together with the content. */
  rolesToCreate: MissingRoles
  /** What alone is restored; undefined: everything. */
  part: ChosenPart | undefined
  /** What a restore of this target that was cut off has left to know. */
  cutOff: RestoreJournal | UnreadableJournal | undefined
}

/**
 * Looks at everything that could stop this restore, and reports it all at once.
 * @throws DbbakError PREFLIGHT_FAILED with every finding; OPERATION_IN_PROGRESS when another dbbak is at work there
 */
export async function preflight(
  backup: StoredBackup,
  options: PreflightOptions,
  deps: {
    connection: ConnectionDescription
    search: ToolSearch
    safetyStore: StorageProvider
    signal: AbortSignal
  },
): Promise<Target> {
  const tools = await attempt(toolsForRestore(dumpMajor(backup.entry.manifest), deps.search))
  const session = await attempt(openTargetSession(deps.connection, options.lockTimeoutMs, deps.signal))
  const missingTools = 'finding' in tools ? [tools.finding] : []
  if ('finding' in session)
    return fail([withCreation(session.finding, deps.connection, backup.entry.manifest), ...missingTools])
  const {client} = session.value
  try {
    const server = await describeServer(client)
    await claim(client, server)
    const content = await describeContent(client, server)
    const {manifest} = backup.entry
    const {connection} = session.value
    const journal = await readJournal(client)
    const part = options.part && choosePart(await readArchiveEntries(backup, deps.signal), options.part)
    const facts = {client, server, connection, isCutOff: journal !== undefined, isPart: part !== undefined}
    const strategy = await chooseStrategy(facts, manifest, options.strategy, deps.signal)
    const rolesToCreate = options.globals ? await missingRoles(client, backup) : {names: [], statements: []}
    const subject = {...facts, content, rolesToCreate, ...shapeOf(strategy)}
    const findings = [
      ...(journal ? [journalFinding(journal)] : []),
      ...('finding' in strategy ? [strategy.finding] : []),
      ...(part ? await findPartObstacles(client, part, manifest.id) : []),
      ...('finding' in tools ? [] : checkPsql(manifest, tools.value.version)),
      ...(await examine(subject, manifest, options)),
      ...(part ? [] : await checkTargetSpace(client, connection, manifest)),
      ...(options.safetyBackup && !journal ? await checkSafetySpace(manifest, server, deps.safetyStore) : []),
    ]
    if ('finding' in tools || 'finding' in strategy) return fail([...missingTools, ...findings])
    throwOnErrors(findings)
    const {lockTimeoutMs} = options
    return {
      ...session.value,
      lockTimeoutMs,
      server,
      content,
      strategy,
      tools: tools.value,
      findings,
      rolesToCreate,
      part,
      cutOff: journal,
    }
  } catch (error) {
    await leaveSession(session.value)
    deps.signal.throwIfAborted()
    throw asQueryError(error, 'looking at the target')
  }
}

const shapeOf = (strategy: Strategy | {finding: Finding}) => ({
  strategy: 'finding' in strategy ? ('swap' as const) : strategy.name,
  way: 'way' in strategy ? strategy.way : undefined,
})

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
