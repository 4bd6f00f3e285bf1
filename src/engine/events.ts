/**
 * Everything the engine can tell a watcher, and the glossary of the words it uses.
 *
 * - backup: an archive plus its manifest; it exists from the moment the manifest is written.
 * - archive: what pg_dump wrote, possibly compressed; a file, or a folder of files for the directory format.
 * - content record: what the database held in the dump's own snapshot.
 * - destination: where backups are kept. Scratch database: a throw-away one that restore tests use.
 */
export type StageName =
  'preflight' | 'verify' | 'confirm' | 'safety-dump' | 'restore' | 'table-checks' | 'rollback'

export type StageStatus = 'done' | 'failed' | 'skipped' | 'not-run'

export interface StageResult {
  name: StageName
  status: StageStatus
  /** Why it was skipped, failed or not run. */
  reason?: string
  durationMs: number
}

/** Bytes through a stage of work; the total is an estimate or unknown. */
export interface ByteProgress {
  bytes: number
  totalBytes?: number | undefined
  /** What is being worked on now: a table's name, or a phrase. */
  object?: string | undefined
  /** Rows of the tables that are finished, and of all. */
  rows?: {done: number; total: number} | undefined
}

/** All members are optional: a watcher listens to what it shows. Listeners must not throw. */
export interface Events {
  /** Work of some length begins; `activity` is a short phrase in the present tense ("Dumping shop"). */
  activityStarted?(activity: string): void
  /** How far the running activity is. */
  activityProgress?(progress: ByteProgress): void
  activityEnded?(activity: string, result: {ok: boolean; detail?: string; durationMs: number}): void
  stageStarted?(stage: StageName): void
  stageEnded?(result: StageResult): void
  /** Something the user should know that does not stop the work. */
  warning?(warning: {code: string; message: string}): void
  /** Something for --verbose. */
  detail?(message: string): void
}

/** The watcher that does not watch. */
export const silent: Events = {}

/** For work that goes on beside the work that is shown. */
export function withoutActivities(events: Events): Events {
  return {
    stageStarted: (stage) => events.stageStarted?.(stage),
    stageEnded: (result) => events.stageEnded?.(result),
    warning: (warning) => events.warning?.(warning),
    detail: (message) => events.detail?.(message),
  }
}

/**
 * Runs one activity and tells the watcher of its beginning and end.
 * @param failing why it counts as failed although it came to a result; undefined for one that did not fail
 */
export async function activity<T>(
  events: Events,
  name: string,
  work: () => Promise<T>,
  failing: (value: T) => string | undefined = () => undefined,
): Promise<T> {
  const start = performance.now()
  const end = (ok: boolean, text?: string) =>
    events.activityEnded?.(name, {
      ok,
      durationMs: Math.round(performance.now() - start),
      ...(text === undefined ? {} : {detail: text}),
    })
  events.activityStarted?.(name)
  try {
    const value = await work()
    const failure = failing(value)
    end(failure === undefined, failure)
    return value
  } catch (error) {
    end(false)
    throw error
  }
}
