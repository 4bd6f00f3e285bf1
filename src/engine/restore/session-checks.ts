import {setTimeout as delay} from 'node:timers/promises'
import {asQueryError} from '../../postgres/connect.js'
import type {Manifest} from '../manifest.js'
import type {StrategyName} from './choose-strategy.js'
import {throwOnErrors, type Finding} from './findings.js'
import type {PreflightOptions, Target} from './preflight.js'
import type {Subject} from './preflight-checks.js'
import {describeSession, otherSessions, type OtherSession} from './target.js'

const code = 'ACTIVE_CONNECTIONS'

/** Who else is connected. Where something is to run before the restore, it may be there to send them away. */
export async function checkSessions(
  {client, server, strategy}: Pick<Subject, 'client' | 'server' | 'strategy'>,
  _: Manifest,
  {terminateConnections, mayEndSessions}: PreflightOptions,
): Promise<Finding[]> {
  const others = await strangers(client)
  if (others.length === 0) return []
  const message = connected(others, server.database.name)
  if (terminateConnections) return [{code, severity: 'warning', message: `${message} ${ended[strategy]}`}]
  if (mayEndSessions)
    return [{code, severity: 'warning', message: `${message} The hook before the restore has to end them.`}]
  return [refused(message)]
}

const ended: Record<StrategyName, string> = {
  'in-place': 'They will be ended.',
  swap: 'They can go on until the names are swapped and are ended then; what they write until then is in the former database alone, which is kept.',
}

/** So long sessions may take to go that were ended a moment ago. */
const leavingMs = 5000

/**
 * Looks again once everything is prepared: whoever is gone by now is no finding any more, and whoever stays stops the
 * restore, unless their sessions are to be ended.
 * @throws DbbakError PREFLIGHT_FAILED
 */
export async function checkSessionsAgain(
  target: Pick<Target, 'client' | 'server' | 'strategy' | 'findings'>,
  {terminateConnections}: Pick<PreflightOptions, 'terminateConnections'>,
): Promise<Finding[]> {
  const others = await askAgain(target.client, terminateConnections ? 0 : leavingMs)
  const rest = target.findings.filter((finding) => finding.code !== code)
  if (others.length === 0) return rest
  const message = connected(others, target.server.database.name)
  if (terminateConnections)
    return [...rest, {code, severity: 'warning', message: `${message} ${ended[target.strategy.name]}`}]
  const findings = [...rest, refused(message)]
  throwOnErrors(findings)
  return findings
}

async function askAgain(client: Target['client'], patienceMs: number): Promise<OtherSession[]> {
  try {
    for (const end = performance.now() + patienceMs; ; await delay(100)) {
      const others = await strangers(client)
      if (others.length === 0 || performance.now() >= end) return others
    }
  } catch (error) {
    throw asQueryError(error, 'looking at the target')
  }
}

/** Another dbbak that came too late for the claim, which we hold, is about to leave. */
const strangers = async (client: Target['client']): Promise<OtherSession[]> =>
  (await otherSessions(client)).filter(({application}) => !application.startsWith('dbbak '))

function connected(others: OtherSession[], database: string): string {
  const who = others.slice(0, 5).map(describeSession)
  return `${others.length} other ${others.length === 1 ? 'session is' : 'sessions are'} connected to ${database}: ${who.join('; ')}${others.length > 5 ? '; …' : ''}.`
}

const refused = (message: string): Finding => ({
  code,
  severity: 'error',
  message,
  fix: 'Stop what uses the database, or end them: dbbak restore --terminate-connections',
})
