import type {Client} from 'pg'
import {toolsForRestore, type ClientTools, type ToolSearch} from '../../postgres/client-tools.js'
import {asQueryError} from '../../postgres/connect.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {claimDatabase, claimHolders} from '../../postgres/operation-lock.js'
import {describeServer, type ServerDescription} from '../../postgres/server.js'
import {DbbakError} from '../../support/errors.js'
import type {StoredBackup} from '../archive/open-archive.js'
import type {Manifest} from '../manifest.js'
import {chooseStrategy, type Strategy, type StrategyName} from './choose-strategy.js'
import {asFinding, throwOnErrors, type Finding} from './findings.js'
import {examine} from './preflight-checks.js'
import {leaveSession, openTargetSession, type TargetSession} from './target-session.js'
import {describeContent, type TargetContent} from './target.js'

export interface PreflightOptions {
  strategy: 'auto' | StrategyName
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
  strategy: Strategy
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
    const {manifest} = backup.entry
    const {connection} = session.value
    const strategy = await chooseStrategy(
      {client, server, connection},
      manifest,
      options.strategy,
      deps.signal,
    )
    const refused = 'finding' in strategy ? [strategy.finding] : []
    const subject = {
      client,
      server,
      content,
      strategy: 'finding' in strategy ? 'swap' : strategy.name,
    } as const
    const findings = [...refused, ...(await examine(subject, manifest, options))]
    if ('finding' in tools || 'finding' in strategy) return fail([...missingTools, ...findings])
    throwOnErrors(findings)
    const {lockTimeoutMs} = options
    return {...session.value, lockTimeoutMs, server, content, strategy, tools: tools.value, findings}
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
