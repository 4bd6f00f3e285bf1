import {DbbakError, type ErrorCode} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'
import {StoreError, type StoreTrouble} from './store-error.js'

/** What was being done when an object store failed. */
export interface Attempt {
  /** The destination, as the user writes it. */
  place: string
  /** The object, by its name below the destination. */
  key?: string | undefined
}

/** Says what a store's error means for the destination. Anything else (a source's error, a bug) is given back as it is. */
export function destinationError(error: unknown, attempt: Attempt): unknown {
  if (!(error instanceof StoreError)) return error
  const {code, sentence, suggestions} = meanings[error.trouble](attempt, error.message)
  return new DbbakError(code, sentence, {
    cause: error,
    suggestions: error.suggestions.length > 0 ? error.suggestions : suggestions,
    details: {trouble: error.trouble},
  })
}

interface Meaning {
  code: ErrorCode
  sentence: string
  suggestions: string[]
}

type Explain = (attempt: Attempt, said: string) => Meaning

const doctor = (place: string): string => `dbbak doctor --to ${shellWord(place)}`

const failed: Explain = ({place}, said) => ({
  code: 'DESTINATION_FAILED',
  sentence: `The destination ${place} failed: ${said}.`,
  suggestions: [`Try the destination by itself: ${doctor(place)}`],
})

const unreachable: Explain = ({place}, said) => ({
  code: 'DESTINATION_UNREACHABLE',
  sentence: `The destination ${place} cannot be reached, or does not answer as it should: ${said}.`,
  suggestions: [
    `Try the destination by itself: ${doctor(place)}`,
    'Check the endpoint, the network and the proxy settings (HTTPS_PROXY, NO_PROXY).',
  ],
})

const meanings: Record<StoreTrouble, Explain> = {
  missing: ({place, key}) => ({
    code: 'OBJECT_NOT_FOUND',
    sentence: `There is no ${key ?? 'such object'} at ${place}.`,
    suggestions: [`dbbak list --from ${shellWord(place)}`],
  }),
  'missing-bucket': ({place}, said) => ({
    code: 'DESTINATION_NOT_FOUND',
    sentence: `The bucket or container of ${place} does not exist: ${said}.`,
    suggestions: ['Check its name and region; dbbak makes no buckets.', doctor(place)],
  }),
  exists: ({place, key}) => ({
    code: 'OBJECT_EXISTS',
    sentence: `${key ?? 'The object'} exists already at ${place}, and is never overwritten.`,
    suggestions: [`dbbak list --from ${shellWord(place)}`],
  }),
  held: ({place, key}) => ({
    code: 'OBJECT_EXISTS',
    sentence: `Another upload of ${key ?? 'the object'} to ${place} is under way, or was cut off on a machine that cannot be asked from here: then its name is free a day after it stopped.`,
    suggestions: [
      'Wait until the other one has ended.',
      'If it was cut off, run the command on the machine on which that happened: there its rest is removed at once.',
    ],
  }),
  changed: ({place, key}) => ({
    code: 'DESTINATION_FAILED',
    sentence: `${key ?? 'The object'} at ${place} was replaced while it was being read.`,
    suggestions: ['Run the command again.'],
  }),
  gone: failed,
  'beyond-end': failed,
  failed,
  transient: unreachable,
  throttled: ({place}, said) => ({
    code: 'DESTINATION_UNREACHABLE',
    sentence: `The destination ${place} refuses so many requests: ${said}.`,
    suggestions: ['Run the command again later.', 'Ask for less at a time: --bandwidth-limit 20MB'],
  }),
  'clock-skew': ({place}, said) => ({
    code: 'CLOCK_SKEW',
    sentence: `The destination ${place} refuses requests, since this machine's clock is wrong: ${said}.`,
    suggestions: ['Set the clock: sudo timedatectl set-ntp true', 'See what it says: date -u'],
  }),
  credentials: ({place}, said) => ({
    code: 'CREDENTIALS_REFUSED',
    sentence: `The destination ${place} does not accept the credentials: ${said}.`,
    suggestions: [`See where they come from: ${doctor(place)}`],
  }),
  denied: ({place, key}, said) => ({
    code: 'DESTINATION_DENIED',
    sentence: `The destination ${place} does not allow this${key === undefined ? '' : ` for ${key}`}: ${said}.`,
    suggestions: [`See what is allowed and what is not: ${doctor(place)}`],
  }),
  full: ({place}, said) => ({
    code: 'DESTINATION_FULL',
    sentence: `No space is left at the destination ${place}: ${said}.`,
    suggestions: ['Raise the quota, remove old backups, or name another destination with --to.'],
  }),
  locked: ({place, key}, said) => ({
    code: 'OBJECT_LOCKED',
    sentence: `${key ?? 'The object'} at ${place} may not be removed or replaced yet: ${said}.`,
    suggestions: ['Wait until its retention has ended.'],
  }),
}
