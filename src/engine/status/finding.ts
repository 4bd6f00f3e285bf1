import type {ErrorCode} from '../../support/errors.js'

export const severities = ['error', 'warning', 'info'] as const
export type Severity = (typeof severities)[number]

/** What status can find out, in stable words; a destination or server that fails is told by its error's own code. */
export type StatusCode =
  | 'NO_BACKUP'
  | 'BACKUP_TOO_OLD'
  | 'BACKUP_IN_FUTURE'
  | 'BACKUP_DAMAGED'
  | 'BACKUP_NOT_EVERYWHERE'
  | 'DATABASE_MOVED'
  | 'ONLY_PARTS'
  | 'NEVER_VERIFIED'
  | 'VERIFIED_TOO_OLD'
  | 'VERIFICATION_FAILED'
  | 'VERIFICATION_COULD_NOT_RUN'
  | 'RUNS_MISSED'
  | 'SIZE_DROPPED'
  | 'SIZE_GREW'
  | 'ROWS_DROPPED'
  | 'ROWS_GREW'
  | 'EMPTY_BACKUP'
  | 'TABLE_VANISHED'
  | 'TABLE_EMPTIED'
  | 'TABLE_SHRANK'
  | 'TABLE_RENAMED'
  | 'LEFTOVERS'
  | 'RESTORE_CUT_OFF'
  | 'RESTORE_LEFTOVERS'
  | 'REPORT_NOT_WRITTEN'
  | ErrorCode

/** One thing that an operator should know. */
export interface StatusFinding {
  code: StatusCode
  severity: Severity
  message: string
  /** Its name in the config file, or its own. */
  database?: string
  /** Which one, where several servers have a database of this name. */
  server?: string
  /** Absent where it is the same at every destination. */
  destination?: string
  /** A command to run, or a change to make. */
  suggestion?: string
  /** What to do instead, where it is no trouble: a database that is backed up no more. */
  otherwise?: string
}

/** The worst first; of the same severity in the order in which they were found. */
export function worstFirst(findings: StatusFinding[]): StatusFinding[] {
  const rank = ({severity}: StatusFinding) => severities.indexOf(severity)
  return [...findings].sort((one, other) => rank(one) - rank(other))
}

/** What was found of the same backup at several destinations is told once. */
export function eachOnce(findings: StatusFinding[]): StatusFinding[] {
  const told = new Map<string, StatusFinding>()
  for (const finding of findings) {
    const {destination, suggestion: _, otherwise: __, ...what} = finding
    const key = JSON.stringify(what)
    const before = told.get(key)
    if (!before) told.set(key, finding)
    else if (before.destination !== destination) delete before.destination
  }
  return [...told.values()]
}
