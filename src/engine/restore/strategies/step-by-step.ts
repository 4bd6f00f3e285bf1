import {setTimeout as delay} from 'node:timers/promises'
import {emptyInSteps} from '../../../postgres/empty-in-steps.js'
import {claimDatabase} from '../../../postgres/operation-lock.js'
import {asQueryError} from '../../../postgres/query-errors.js'
import {DbbakError, messageOf} from '../../../support/errors.js'
import type {StoredBackup} from '../../archive/open-archive.js'
import {createSelectedSchemas} from '../../archive/selected-schemas.js'
import {activity} from '../../events.js'
import {
  newJournal,
  readJournal,
  removeJournal,
  restoreCommand,
  writeJournal,
  type RestoreJournal,
  type UnreadableJournal,
} from '../journal.js'
import type {Target} from '../preflight.js'
import {createRoles, dropRoles} from '../restore-roles.js'
import {checkTables} from '../table-checks.js'
import {endBackend, leaveSession, openTargetSession, type TargetSession} from '../target-session.js'
import {describeSession, otherSessions, terminateSessions, usableLocks} from '../target.js'
import {checkWayBack} from './check-way-back.js'
import {commitTransaction, transactionId} from './commit.js'
import {endToolSessions, fillTarget, type FillOptions} from './fill-target.js'
import type {Committed, ReplaceDeps, Replacement, ReplaceOptions} from './replacement.js'

/**
 * Replaces everything in a database in many transactions, for servers that cannot lock everything at once. From the
 * first DROP on the way back is the safety backup, and a journal in the server says so to whoever comes after a kill:
 * it is there before anything is dropped, and goes when the database is complete again, this way or that.
 * @param safety null only where the target is empty
 */
export function replaceStepByStep(
  backup: StoredBackup,
  target: Target,
  safety: {backup: StoredBackup} | null,
  options: ReplaceOptions,
  deps: ReplaceDeps,
): Replacement {
  return new StepByStep(backup, target, safety?.backup, options, deps)
}

class StepByStep implements Replacement {
  private journal: RestoreJournal
  /** What was there when we came: of a restore that was cut off. */
  private formerJournal: RestoreJournal | UnreadableJournal | undefined
  private mayHaveJournal = false
  private mayHaveDropped = false

  constructor(
    private readonly backup: StoredBackup,
    private readonly target: Target,
    private readonly safety: StoredBackup | undefined,
    private readonly options: ReplaceOptions,
    private readonly deps: ReplaceDeps,
  ) {
    this.journal = newJournal(placeOf(backup), safety ? placeOf(safety) : null)
  }

  private get database(): string {
    return this.target.server.database.name
  }

  async fill() {
    const {target, backup, options, deps, safety} = this
    const {client, server} = target
    try {
      await refuseOthers(target, options)
      await endToolSessions(client)
      await checkWayBack(client, server, safety, deps)
      this.formerJournal = await readJournal(client)
      this.refuseWithoutWayBack()
      this.mayHaveJournal = true
      await this.note(target, 'emptying')
      this.mayHaveDropped = true
      await createRoles(client, target.rolesToCreate)
      await this.replaceContent(backup, target, options, deps)
      return client
    } catch (error) {
      deps.signal.throwIfAborted()
      throw asQueryError(error, 'replacing the content of the target')
    }
  }

  /** Without a safety backup, going back is emptying: right only where nothing was there before us. */
  private refuseWithoutWayBack(): void {
    const {formerJournal: former, target} = this
    if (this.safety) return
    const wasEmpty = former ? !('unreadable' in former) && former.safety === null : target.content.isEmpty
    if (wasEmpty) return
    throw new DbbakError(
      'RESTORE_FAILED',
      former
        ? 'An earlier restore was cut off, and its journal does not tell where the former content lies.'
        : 'Replacing everything step by step needs a safety backup as the way back.',
      {
        suggestions: former
          ? [`When you do not need the former content: COMMENT ON DATABASE "${this.database}" IS NULL`]
          : ['Restore with one: leave out --no-safety-backup'],
      },
    )
  }

  /** Everything in the database by a backup; or by nothing. */
  private async replaceContent(
    backup: StoredBackup | undefined,
    session: TargetSession,
    options: FillOptions,
    deps: ReplaceDeps,
  ): Promise<void> {
    const {client} = session
    const {server, tools, lockTimeoutMs} = this.target
    const kept = await activity(deps.events, `Emptying ${this.database} step by step`, () =>
      emptyInSteps(client, {
        isSuperuser: server.isSuperuser,
        locksAtOnce: Math.floor(usableLocks(server.lockTable) / 4),
        signal: deps.signal,
      }),
    )
    for (const name of kept.extensions) {
      deps.events.warning?.({
        code: 'EXTENSION_KEPT',
        message: `The extension ${name} belongs to another role and was left as it is.`,
      })
    }
    if (!backup) return
    if (this.journal.step === 'emptying') await this.note(session, 'restoring')
    await createSelectedSchemas(client, backup.entry.manifest)
    const {connection} = session
    await activity(deps.events, `Restoring ${backup.entry.manifest.id}`, () =>
      fillTarget(backup, {connection, server, tools, lockTimeoutMs}, kept, options, deps),
    )
  }

  private async note({client}: TargetSession, step: RestoreJournal['step']): Promise<void> {
    this.journal = {...this.journal, step}
    await writeJournal(client, this.database, this.journal)
  }

  /** The former content is gone by then: there is nothing to keep. */
  async commit(): Promise<Committed> {
    try {
      await this.endJournal(this.target, this.deps)
    } catch (error) {
      if (error instanceof DbbakError && error.code === 'ROLLBACK_FAILED') throw this.journalUnknown(error)
      throw asQueryError(error, 'removing the journal of the restore')
    }
    return {}
  }

  private async endJournal(session: TargetSession, deps: ReplaceDeps): Promise<void> {
    const {client} = session
    await client.query('begin')
    const transaction = await transactionId(client)
    await removeJournal(client, this.database)
    await commitTransaction(session, transaction, deps)
  }

  private journalUnknown(cause: DbbakError): DbbakError {
    return new DbbakError(
      'ROLLBACK_FAILED',
      'The backup is restored and was checked, but the connection was lost when the end of the restore was noted, and the server cannot be asked: the next run may take the restore for one that was cut off.',
      {cause, suggestions: [`To be sure, restore it again: ${restoreCommand(this.journal.backup)}`]},
    )
  }

  async undo(): Promise<void> {
    if (!this.mayHaveJournal) return
    // An interruption has brought us here; what it interrupts is not the way back.
    const deps = {...this.deps, signal: new AbortController().signal}
    if (!this.mayHaveDropped) return this.takeBackJournal(deps)
    try {
      await this.inSession(deps, async (session) => {
        await endToolSessions(session.client)
        await this.note(session, 'rolling-back')
        await this.replaceContent(this.safety, session, wholeBackup, deps)
        if (this.safety) await checkTables(session.client, this.safety.entry.manifest, [], true, deps.signal)
        await this.takeRolesBack(session)
        await this.endJournal(session, deps).catch((error: unknown) => this.leaveJournal(error))
      })
    } catch (cause) {
      throw this.rollbackFailed(cause)
    }
  }

  /** Nothing was dropped; the journal of an earlier restore, if there was one, is still right. */
  private async takeBackJournal(deps: ReplaceDeps): Promise<void> {
    const former = this.formerJournal
    try {
      await this.inSession(deps, async ({client}) => {
        if (!former) await removeJournal(client, this.database)
        else if (!('unreadable' in former)) await writeJournal(client, this.database, former)
      })
    } catch (error) {
      this.leaveJournal(error)
    }
  }

  private leaveJournal(error: unknown): void {
    this.deps.events.warning?.({
      code: 'JOURNAL_LEFT',
      message: `The database is as it was, but its comment may still say that a restore was cut off (${messageOf(error)}).`,
    })
  }

  private async takeRolesBack({client}: TargetSession): Promise<void> {
    const {rolesToCreate} = this.target
    await dropRoles(client, rolesToCreate).catch((error: unknown) =>
      this.deps.events.warning?.({
        code: 'ROLES_LEFT',
        message: `The roles ${rolesToCreate.names.join(', ')}, made for this restore, are left (${messageOf(error)}).`,
      }),
    )
  }

  /** In the session that there is, or in a new one that has claimed the database. */
  private async inSession(deps: ReplaceDeps, work: (session: TargetSession) => Promise<void>): Promise<void> {
    if (!this.deps.signal.aborted && (await isUsable(this.target))) return work(this.target)
    const session = await reopen(this.target, deps.signal)
    try {
      await work(session)
    } finally {
      await leaveSession(session)
    }
  }

  private rollbackFailed(cause: unknown): DbbakError {
    const {safety, backup} = this.journal
    const why = messageOf(cause).replace(/\.$/, '')
    const state = `The database ${this.database} is incomplete, since putting it back failed too (${why}).`
    const details = cause instanceof DbbakError ? cause.details : undefined
    const way = safety
      ? `What it held before is in the safety backup ${safety.id} at ${safety.destination}.`
      : 'It was empty before.'
    return new DbbakError('ROLLBACK_FAILED', `${state} ${way}`, {
      cause,
      suggestions: safety
        ? [`Put back what was there before: ${restoreCommand(safety)}`]
        : [`Restore the backup again: ${restoreCommand(backup)}`],
      ...(details ? {details} : {}),
    })
  }
}

const placeOf = ({store, entry}: StoredBackup) => ({id: entry.manifest.id, destination: store.describe()})

/** A safety backup goes back as it was, whatever was wanted of the other. */
const wholeBackup: FillOptions = {noOwner: false, noPrivileges: false, jobs: undefined}

/** Asked again at the last moment: whoever is in there would see, and may write into, a half-restored database. */
async function refuseOthers({client}: Target, {terminateConnections}: ReplaceOptions): Promise<void> {
  const found = terminateConnections ? await terminateSessions(client) : await otherSessions(client)
  const others = found.filter(({application}) => !application.startsWith('dbbak '))
  if (others.length === 0) return
  throw new DbbakError(
    'RESTORE_FAILED',
    `Others are connected to the target${terminateConnections ? ', and this role could not end their sessions' : ''}: ${others.slice(0, 5).map(describeSession).join('; ')}.`,
    {
      suggestions: terminateConnections
        ? ['Stop what uses the database, or restore as a superuser or a member of pg_signal_backend.']
        : ['Stop what uses the database, or end the sessions: dbbak restore --terminate-connections'],
    },
  )
}

/** Out of any transaction, and answering. */
async function isUsable({client}: TargetSession): Promise<boolean> {
  const silence = delay(10_000, false, {ref: false})
  const answer = client.query('rollback').then(
    () => true,
    () => false,
  )
  return Promise.race([answer, silence])
}

/** A server that starts again after a crash may need minutes. */
const patienceMs = 300_000

async function reopen(target: Target, signal: AbortSignal): Promise<TargetSession> {
  for (const end = performance.now() + patienceMs; ; await delay(500)) {
    try {
      await endBackend(target) // it has the claim, and may be in the middle of something
      const session = await openTargetSession(target.connection, target.lockTimeoutMs, signal)
      if (await claimDatabase(session.client, 'exclusive')) return session
      await leaveSession(session)
      throw new DbbakError('SERVER_UNREACHABLE', 'Another dbbak has claimed the database.')
    } catch (error) {
      const isPassing = error instanceof DbbakError && passing.has(error.code)
      if (!isPassing || performance.now() > end) throw error
    }
  }
}

const passing = new Set(['SERVER_UNREACHABLE', 'CONNECTION_LOST'])
