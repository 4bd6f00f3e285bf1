import {setTimeout as delay} from 'node:timers/promises'
import type {Client} from 'pg'
import {connect} from '../../../postgres/connect.js'
import type {ConnectionDescription} from '../../../postgres/connection.js'
import {
  finishingStatements,
  likeDatabase,
  readProperties,
  type DatabaseProperties,
} from '../../../postgres/database-properties.js'
import {dropDatabase} from '../../../postgres/drop-database.js'
import {quoteIdentifier, quoteLiteral} from '../../../postgres/identifiers.js'
import {destroySession} from '../../../postgres/session-guard.js'
import {asQueryError, isConnectionLoss} from '../../../postgres/query-errors.js'
import {DbbakError, messageOf} from '../../../support/errors.js'
import type {StoredBackup} from '../../archive/open-archive.js'
import {createSelectedSchemas} from '../../archive/selected-schemas.js'
import {activity} from '../../events.js'
import {commentBehindJournal} from '../journal.js'
import {newCopyNames, type CopyNames} from '../copy-names.js'
import {createRoles, dropRoles} from '../restore-roles.js'
import type {Target} from '../preflight.js'
import {
  applicationName,
  endBackend,
  leaveSession,
  openTargetSession,
  type TargetSession,
} from '../target-session.js'
import {fillTarget} from './fill-target.js'
import type {Committed, ReplaceDeps, Replacement, ReplaceOptions} from './replacement.js'
import {switchNames} from './switch-names.js'

/**
 * Restores into a new database beside the target and, once the caller has checked it, swaps their names. Until then
 * the target is only read: a failure or a kill leaves nothing but the copy, which the next run names.
 */
export function replaceBySwap(
  backup: StoredBackup,
  target: Target,
  maintenance: ConnectionDescription,
  options: ReplaceOptions,
  deps: ReplaceDeps,
): Replacement {
  return new Swap(backup, target, maintenance, options, deps)
}

const nothingKept = {extensions: [], schemas: []}

class Swap implements Replacement {
  private readonly names: CopyNames
  private session: TargetSession | undefined
  private mayExist = false
  private madeRoles = false

  constructor(
    private readonly backup: StoredBackup,
    private readonly target: Target,
    private readonly maintenance: ConnectionDescription,
    private readonly options: ReplaceOptions,
    private readonly deps: ReplaceDeps,
  ) {
    this.names = newCopyNames(target.server.database.name)
  }

  async fill() {
    const {target, names, deps, options, backup} = this
    const {events, signal} = deps
    await activity(events, `Creating ${names.copy}`, () => this.create())
    const connection = this.maintenance.withDatabase(names.copy)
    // Open until the swap: a copy with nobody in it is one that a killed run left.
    this.session = await openTargetSession(connection, target.lockTimeoutMs, signal)
    const {client} = this.session
    await createSelectedSchemas(client, backup.entry.manifest)
    await activity(events, 'Filling the copy', () =>
      fillTarget(backup, {...target, connection}, nothingKept, options, deps),
    )
    if (options.analyze) await this.analyze()
    return client
  }

  private async create(): Promise<void> {
    const {names} = this
    const {database, major} = this.target.server
    try {
      await this.inMaintenance(async (client) => {
        const [create, ...rest] = await likeDatabase(client, database.name, names.copy, major)
        await this.makeRoles(client)
        this.mayExist = true
        await client.query(create as string)
        await client.query(unfinished(database.name, names.copy))
        for (const statement of rest) await client.query(statement)
      })
    } catch (error) {
      if (isTaken(error)) this.mayExist = false // somebody else's: not ours to drop
      throw notCreated(error, names.copy)
    }
  }

  /** In a session that an interruption ends on both sides: the server would go on creating a database, for one. */
  private async inMaintenance<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const session = await openTargetSession(this.maintenance, this.target.lockTimeoutMs, this.deps.signal)
    try {
      const value = await work(session.client)
      await leaveSession(session)
      return value
    } catch (error) {
      destroySession(session.client)
      await endBackend(session)
      throw error
    }
  }

  /** Before everything else, since they belong to no database: taken back by `undo`. */
  private async makeRoles(client: Client): Promise<void> {
    const {rolesToCreate} = this.target
    await client.query('begin')
    await createRoles(client, rolesToCreate)
    await client.query('commit')
    this.madeRoles = rolesToCreate.names.length > 0
  }

  private async takeRolesBack(): Promise<void> {
    const {rolesToCreate} = this.target
    try {
      const {client} = await connect(this.maintenance, {applicationName})
      await dropRoles(client, rolesToCreate).finally(() => client.end())
    } catch (error) {
      this.deps.events.warning?.({
        code: 'ROLES_LEFT',
        message: `The roles ${rolesToCreate.names.join(', ')}, made for this restore, are left (${messageOf(error)}).`,
      })
    }
  }

  /** Nobody is to meet tables without statistics. They are no reason to fail, though. */
  private async analyze(): Promise<void> {
    const {client} = this.session as TargetSession
    const {events, signal} = this.deps
    try {
      // Index expressions may call functions that find their tables by the database's own search path.
      await client.query('reset search_path')
      await activity(events, 'Collecting statistics (ANALYZE)', () => client.query('analyze'))
      await client.query('set search_path = pg_catalog')
    } catch (error) {
      signal.throwIfAborted()
      events.warning?.({
        code: 'ANALYZE_FAILED',
        message: `ANALYZE failed; run it by hand: ${messageOf(error)}`,
      })
    }
  }

  async commit(keepOld: boolean): Promise<Committed> {
    const {target, names, deps, options, maintenance} = this
    const name = target.server.database.name
    const finishing = await this.finishing(name)
    if (this.session) await leaveSession(this.session)
    // Our own claim on the target is a session in it. A backup that begins now is in the way like anybody else.
    await leaveSession(target)
    const lockedOutMs = await activity(deps.events, 'Swapping the names', () =>
      switchNames(
        {maintenance, target: name, ...names, finishing, lockTimeoutMs: target.lockTimeoutMs},
        options,
        deps,
      ),
    )
    this.mayExist = false
    if (keepOld) return {lockedOutMs, oldDatabase: names.old}
    return {lockedOutMs, ...(await this.dropOld())}
  }

  private async finishing(name: string): Promise<string[]> {
    const {major} = this.target.server
    return this.inMaintenance(async (client) =>
      finishingStatements(withoutJournal(await readProperties(client, name, major)), name),
    )
  }

  private async dropOld(): Promise<Committed> {
    const {old} = this.names
    try {
      await activity(this.deps.events, 'Dropping the former database', () => this.drop(old))
      return {}
    } catch (error) {
      this.leave(old, 'The former database', error)
      return {oldDatabase: old}
    }
  }

  async undo(): Promise<void> {
    if (this.session) await leaveSession(this.session)
    await leaveSession(this.target)
    if (this.deps.signal.aborted) await endBackend(this.target) // over a connection that is stuck, it does not hear of it
    if (!this.mayExist) return
    const {copy} = this.names
    try {
      await this.drop(copy)
    } catch (error) {
      return this.leave(copy, 'The unfinished copy', error) // roles that own something in it cannot go either
    }
    if (this.madeRoles) await this.takeRolesBack()
  }

  /** A server that recovers from a crash is back in seconds; a database left behind is somebody's work. */
  private async drop(name: string): Promise<void> {
    const patienceMs = this.deps.signal.aborted ? 5_000 : 30_000
    for (const start = performance.now(); ;) {
      try {
        return await dropDatabase(this.maintenance, name)
      } catch (error) {
        if (!isPassing(error) || performance.now() - start > patienceMs) throw error
        await delay(250)
      }
    }
  }

  private leave(name: string, what: string, error: unknown): void {
    this.deps.events.warning?.({
      code: 'DATABASE_LEFT',
      message: `${what} is left on the server (${messageOf(error)}); drop it: DROP DATABASE ${quoteIdentifier(name)}`,
    })
  }
}

/** duplicate_database */
const isTaken = (error: unknown): boolean => (error as {code?: unknown}).code === '42P04'

/** A restore of the former content that was cut off is nothing of the new one. */
const withoutJournal = (properties: DatabaseProperties): DatabaseProperties => ({
  ...properties,
  comment: commentBehindJournal(properties.comment),
})

const isPassing = (error: unknown): boolean =>
  isConnectionLoss(error) ||
  (error instanceof DbbakError && ['SERVER_UNREACHABLE', 'CONNECTION_LOST'].includes(error.code))

/** Says what it is to whoever finds it after a kill. */
function unfinished(target: string, copy: string): string {
  const text = `Unfinished copy for a restore of ${target} by dbbak, begun ${new Date().toISOString()}. Nobody uses it: it can be dropped.`
  return `comment on database ${quoteIdentifier(copy)} is ${quoteLiteral(text)}`
}

function notCreated(thrown: unknown, copy: string): DbbakError {
  const error = asQueryError(thrown, `creating ${copy}`)
  return new DbbakError('RESTORE_FAILED', error.message, {
    cause: error,
    suggestions: ['Replace the content of the database itself: dbbak restore --strategy in-place'],
  })
}
