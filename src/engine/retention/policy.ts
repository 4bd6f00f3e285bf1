import {DbbakError} from '../../support/errors.js'

/** Which backups of a database to keep: each that any rule keeps. A rule with 0 keeps nothing. */
export interface RetentionPolicy {
  /** Those that are newer, in days of 24 hours. */
  keepDays: number
  /** The newest so many. */
  keepLast: number
  /** The newest of each of the last so many days (weeks, months, years) that have backups. */
  keepDaily: number
  keepWeekly: number
  keepMonthly: number
  keepYearly: number
  /** The newest so many that passed a restore test. */
  keepVerified: number
  /** Safety backups that are newer; the rules above are not for those. */
  safetyKeepDays: number
  /** Where days, weeks, months and years begin and end: `UTC`, `Europe/Berlin`. */
  timeZone: string
}

export const defaultPolicy: RetentionPolicy = {
  keepDays: 30,
  keepLast: 0,
  keepDaily: 0,
  keepWeekly: 0,
  keepMonthly: 0,
  keepYearly: 0,
  keepVerified: 1,
  safetyKeepDays: 7,
  timeZone: 'UTC',
}

/** How each rule is written on the command line. */
const flags = {
  keepDays: '--keep-days',
  keepLast: '--keep-last',
  keepDaily: '--keep-daily',
  keepWeekly: '--keep-weekly',
  keepMonthly: '--keep-monthly',
  keepYearly: '--keep-yearly',
  keepVerified: '--keep-verified',
  safetyKeepDays: '--safety-keep-days',
} as const

type Rule = keyof typeof flags

/**
 * Refuses what cannot be meant. keep-verified alone is no policy: a destination whose backups nobody has tried yet
 * would lose all but one of them.
 * @throws DbbakError OPTION_INVALID
 */
export function checkPolicy(policy: RetentionPolicy): void {
  for (const rule of Object.keys(flags) as Rule[]) {
    if (!Number.isSafeInteger(policy[rule]) || policy[rule] < 0)
      throw invalid(`${flags[rule]} must be a whole number that is not negative.`, [
        `For example: ${flags[rule]} ${exampleOf(rule)}`,
      ])
  }
  const {keepDays, keepLast, keepDaily, keepWeekly, keepMonthly, keepYearly} = policy
  if (keepDays + keepLast + keepDaily + keepWeekly + keepMonthly + keepYearly === 0)
    throw invalid('No rule is left that says which backups to keep: the policy would remove all it may.', [
      'Say what to keep: dbbak prune --keep-days 30',
      'If only the newest is wanted: dbbak prune --keep-days 0 --keep-last 1',
    ])
  if (policy.safetyKeepDays === 0)
    throw invalid(
      '--safety-keep-days must be at least 1: a safety backup is the way back of a restore that may still run.',
      ['For example: --safety-keep-days 7'],
    )
  checkTimeZone(policy.timeZone)
}

const exampleOf = (rule: Rule): number => defaultPolicy[rule] || 7

function checkTimeZone(timeZone: string): void {
  try {
    new Intl.DateTimeFormat('en-US', {timeZone})
  } catch (cause) {
    throw invalid(
      `"${timeZone}" is no time zone.`,
      ['Use a name such as UTC, Europe/Berlin or America/New_York.'],
      cause,
    )
  }
}

const invalid = (message: string, suggestions: string[], cause?: unknown): DbbakError =>
  new DbbakError('OPTION_INVALID', message, {suggestions, cause})
