import type {Client} from 'pg'
import type {ToolSearch} from '../../../postgres/client-tools.js'
import type {Events} from '../../events.js'

export interface ReplaceOptions {
  noOwner: boolean
  noPrivileges: boolean
  terminateConnections: boolean
  /** Collect statistics before anybody uses what was restored. */
  analyze: boolean
  /** Tables and indexes restored at a time; undefined: as the backup's shape suggests. */
  jobs: number | undefined
}

export interface ReplaceDeps {
  search: ToolSearch
  events: Events
  signal: AbortSignal
}

/** What a swap left beside the target, and how long it took. */
export interface Committed {
  /** How long nobody could connect, in milliseconds; undefined where it was not measured. */
  lockedOutMs?: number
  /** The former content, under this name; undefined where it is gone. */
  oldDatabase?: string
}

/** One way to replace a target's content. Nobody sees anything of it before `commit`. */
export interface Replacement {
  /**
   * Restores the backup to where nobody sees it yet.
   * @returns a session in which the restored content can be looked at
   */
  fill(): Promise<Client>
  /**
   * Makes it true.
   * @param keepOld whether the former content stays beside the new one, where this way can do that
   * @throws DbbakError ROLLBACK_FAILED where nobody can tell whether it became true; any other: it did not
   */
  commit(keepOld: boolean): Promise<Committed>
  /**
   * Takes back everything that `fill` did. What is left behind is told as a warning.
   * @throws DbbakError ROLLBACK_FAILED, of the step-by-step way alone: the target is incomplete, and the message says
   * where its former content lies
   */
  undo(): Promise<void>
}
