/** What a notice can be about. */
export const noticeEvents = ['backup', 'verify', 'restore', 'prune', 'copy', 'drill', 'status'] as const
export type NoticeEvent = (typeof noticeEvents)[number]

export const noticeOutcomes = ['start', 'success', 'failure'] as const
export type NoticeOutcome = (typeof noticeOutcomes)[number]

/** What a channel may choose: `recovered` is the first success after a failure. */
export const noticeChoices = [...noticeOutcomes, 'recovered'] as const
export type NoticeChoice = (typeof noticeChoices)[number]

/** Something worth knowing, in words: `Rows`, `1,234`. */
export interface Fact {
  label: string
  value: string
}

export interface NoticeError {
  code: string
  message: string
  suggestions: string[]
  exitCode: number
}

/** What happened, to what, where, and what to do. Holds nothing that has to be kept secret. */
export interface Notice {
  /** The same in every attempt to deliver it, so that a receiver can tell a repetition. */
  id: string
  /** The same for the beginning and the end of one run. */
  runId: string
  event: NoticeEvent
  outcome: NoticeOutcome
  /** When it happened, ISO 8601. */
  at: string
  /** What the event is about, alike in every run: incidents are opened and resolved by it. */
  subject: string
  database?: {host: string; port?: number | undefined; name: string} | undefined
  /** Several databases, or one of which nothing but its name in the config file is known. */
  about?: string | undefined
  destinations: string[]
  /** The machine that dbbak ran on. */
  machine: string
  /** The page of the CI run. */
  runUrl?: string | undefined
  durationMs?: number | undefined
  facts: Fact[]
  /** For programs: bytes, rows, counts. */
  figures: Record<string, number>
  error?: NoticeError | undefined
  /** A success, and the last run of the same work was none. */
  isRecovery?: boolean | undefined
  /** Sent by `doctor`: it must neither page anybody nor count as a backup. */
  isTest?: boolean | undefined
}

/** The run was ended from outside. */
export function isInterruption({error}: Notice): boolean {
  return error !== undefined && error.exitCode >= 130
}
