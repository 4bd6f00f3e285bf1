/**
 * Exit codes, as scripts may rely on them (README, "Exit codes").
 * Printed by every command's help.
 */
export const exitStatus = {
  0: 'done',
  1: 'a bug or an unforeseen error',
  2: 'wrong usage or configuration',
  3: 'preflight failed; nothing was changed',
  4: 'backup failed; nothing that looks like a backup was left',
  5: 'verification failed',
  6: 'restore failed; the target is as it was before',
  7: 'restore failed and so did the rollback: act now (the message says how)',
  8: 'a destination failed or refused',
  9: 'another dbbak operation holds the lock',
  10: 'status: unhealthy; drill: a target was missed',
  11: 'could not run: the verification asked for was not possible',
  130: 'interrupted by Ctrl-C, cleaned up',
  143: 'terminated, cleaned up',
} as const

export type ExitCode = keyof typeof exitStatus

/**
 * Every error code there is, and the exit code it means. `null`: it depends on what was being done when it
 * happened (a refused connection is 4 in a backup, 3 in a restore's preflight); the operation decides.
 */
export const errorCodes = {
  // Usage and configuration
  DATABASE_URL_NOT_SET: 2,
  DATABASE_URL_INVALID: 2,
  TEST_DATABASE_URL_NOT_SET: 2,
  TEST_DATABASE_IS_PRODUCTION: 2,
  CONFIG_INVALID: 2,
  OPTION_INVALID: 2,
  DESTINATION_INVALID: 2,
  CONFIRMATION_REQUIRED: 2,
  BACKUP_NOT_FOUND: 2,
  BACKUP_NAME_AMBIGUOUS: 2,
  COMPRESSION_NOT_SUPPORTED: 2,
  NOTHING_SELECTED: 2,
  NODE_TOO_OLD: 2,
  /** Of several databases some failed: the exit code is the worst of theirs. */
  DATABASES_FAILED: null,
  // Reaching the server
  SERVER_UNREACHABLE: null,
  AUTHENTICATION_FAILED: null,
  DATABASE_NOT_FOUND: null,
  PERMISSION_DENIED: null,
  TLS_FAILED: null,
  SERVER_TOO_OLD: null,
  CONNECTION_LOST: null,
  QUERY_FAILED: null,
  HOOK_FAILED: null,
  // Client tools
  CLIENT_TOOLS_NOT_FOUND: null,
  CLIENT_TOOLS_TOO_OLD: null,
  TOOL_FAILED: null,
  // Backup
  DUMP_FAILED: 4,
  DUMP_EMPTY: 4,
  LOCK_TIMEOUT: null,
  LOCK_TABLE_TOO_SMALL: null,
  ROW_SECURITY: null,
  RESTORE_CUT_OFF: 4,
  VALUE_TOO_LARGE: 4,
  RESTORE_IN_PROGRESS: 9,
  OPERATION_IN_PROGRESS: 9,
  // Destinations
  DESTINATION_FAILED: 8,
  DESTINATION_FULL: 8,
  DESTINATION_READ_ONLY: 8,
  DESTINATION_NOT_A_FOLDER: 8,
  DESTINATION_NOT_FOUND: 8,
  DESTINATION_UNREACHABLE: 8,
  DESTINATION_STALLED: 8,
  DESTINATION_DENIED: 8,
  CREDENTIALS_REFUSED: 8,
  CLOCK_SKEW: 8,
  OBJECT_LOCKED: 8,
  OBJECT_NOT_FOUND: 8,
  OBJECT_EXISTS: 8,
  OBJECT_NAME_INVALID: 8,
  TEMPORARY_SPACE: null,
  // Archives and manifests: 5 in a verification, 3 in a restore, which they stop before it changes anything
  MANIFEST_INVALID: null,
  MANIFEST_VERSION_UNKNOWN: null,
  CHECKSUM_MISMATCH: null,
  ARCHIVE_MISSING: null,
  ARCHIVE_SIZE_MISMATCH: null,
  ARCHIVE_CORRUPT: null,
  VERIFICATION_FAILED: 5,
  CONTENT_DIFFERS: 5,
  // Verification that could not run
  VERIFICATION_COULD_NOT_RUN: 11,
  SCRATCH_NOT_AVAILABLE: 11,
  SCRATCH_FAILED: 11,
  DOWNLOAD_REFUSED: 11,
  // Restore
  PREFLIGHT_FAILED: 3,
  RESTORE_FAILED: 6,
  TABLE_CHECKS_FAILED: 6,
  ROLLBACK_FAILED: 7,
  STATUS_UNHEALTHY: 10,
  // Endings
  CANCELLED: 130,
  INTERRUPTED: 130,
  TERMINATED: 143,
  DEMO_FAILED: 1,
  INTERNAL: 1,
} as const satisfies Record<string, ExitCode | null>

export type ErrorCode = keyof typeof errorCodes

export interface ErrorOptions {
  /** What to run or change next, each a sentence or a command that works when typed. */
  suggestions?: string[]
  cause?: unknown
  /** Machine-readable particulars; never secrets. */
  details?: Record<string, unknown>
}

/** An error that dbbak foresaw: what happened, a stable code, what to do next. */
export class DbbakError extends Error {
  override readonly name = 'DbbakError'
  readonly suggestions: string[]
  readonly details: Record<string, unknown> | undefined
  private assignedExitCode: ExitCode | undefined

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: ErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : {cause: options.cause})
    this.suggestions = options.suggestions ?? []
    this.details = options.details
  }

  get exitCode(): ExitCode {
    return errorCodes[this.code] ?? this.assignedExitCode ?? 1
  }

  /** What oclif reads to end the process. */
  get oclif(): {exit: number} {
    return {exit: this.exitCode}
  }

  /** Gives an error whose code leaves it open the exit code of the operation it ended; the first call counts. */
  during(exitCode: ExitCode): this {
    this.assignedExitCode ??= exitCode
    return this
  }
}

/** The exit code that anything that was thrown ends with; for what nobody foresaw, a bug's. */
export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof DbbakError ? error.exitCode : 1
}

/** From "act now" to "ask again later". */
const worstFirst: readonly ExitCode[] = [7, 1, 6, 5, 4, 8, 3, 2, 10, 9, 11]

/** Of several operations' exit codes the one that matters most. */
export function worstExitCode(codes: ExitCode[]): ExitCode {
  return worstFirst.find((code) => codes.includes(code)) ?? codes[0] ?? 0
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Runs an operation so that errors whose code leaves the exit code open get this operation's. */
export async function withExitCode<T>(exitCode: ExitCode, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation()
  } catch (error) {
    throw error instanceof DbbakError ? error.during(exitCode) : error
  }
}

/** The code of a Node system error (ENOSPC, ECONNREFUSED, …), looked for through its causes too. */
export function systemCode(error: unknown): string | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (at instanceof DbbakError) continue
    const {code} = at as NodeJS.ErrnoException
    if (typeof code === 'string') return code
  }
  return undefined
}
