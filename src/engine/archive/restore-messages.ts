import {DbbakError} from '../../support/errors.js'

/** One error that pg_restore or psql reported. */
export interface RestoreMessage {
  /** In the server's words, with the beginning of the statement that it is about. */
  text: string
  meaning: 'harmless' | 'role-missing' | 'extension-missing' | 'something-missing' | 'error'
}

const meanings: [RegExp, RestoreMessage['meaning']][] = [
  // pg_restore 17 and newer set it in every session; older servers do not have it, and nothing depends on it.
  [/unrecognized configuration parameter "transaction_timeout"/, 'harmless'],
  [/must be owner of extension/, 'harmless'],
  // The second is said of a comment, after a policy for such a role.
  [/role "(.*)" does not exist|policy ".*" for table ".*" does not exist/, 'role-missing'],
  [
    /extension "(.*)" is not available|required extension "(.*)" is not installed|could not open extension control file|has no installation script|access method ".*" does not exist|could not access file ".*": No such file/,
    'extension-missing',
  ],
  [/ does not exist|has no default operator class/, 'something-missing'],
]

/** A server's error as a tool passes it on; psql says nothing before it when it reads from its standard input. */
const serverError = /^(?:(?:psql|pg_restore)\b.*?\b)?(?:ERROR|FATAL|PANIC): +(.*)$/

/** pg_restore's own errors, without a server's behind them. */
const ownError = /^pg_restore: error: (?!could not execute query|COPY failed for table)(.*)$/

/**
 * The errors among a tool's messages, each judged by name: a missing role leaves every row in place, a failed COPY
 * an empty table. What is not known to be harmless is an error.
 */
export function judgeMessages(stderr: string): RestoreMessage[] {
  const messages: RestoreMessage[] = []
  let text = ''
  let statement = ''
  const end = () => {
    const meaning = meanings.find(([words]) => words.test(text))?.[1] ?? 'error'
    if (text) messages.push({text: statement ? `${text} (${statement})` : text, meaning})
    statement = text = ''
  }
  for (const line of stderr.split('\n')) {
    const error = serverError.exec(line)?.[1] ?? ownError.exec(line)?.[1]
    if (error !== undefined) {
      end()
      text = error.trim()
      statement = beginningOf(/COPY failed for table "(.*)": ERROR/.exec(line)?.[1])
    } else if (text && !statement) {
      statement = beginningOf(/^(?:Command was|STATEMENT): +(.*)$/.exec(line)?.[1])
    }
  }
  end()
  return messages
}

const shownCharacters = 120

/** What a statement is about; without options, which may hold a password, and without a body. */
function beginningOf(statement: string | undefined): string {
  const [beginning = ''] = (statement ?? '').split(/ \(|;| AS\b| OPTIONS\b| CONNECTION\b/)
  return beginning.slice(0, shownCharacters).trim()
}

/** Lines that belong to an error may come after it. */
const settleMs = 100
/** More than this is not kept: by then the first error has been told. */
const longestText = 1024 * 1024

/** Ends a tool at the first error that is not known to be harmless, instead of letting it go on for an hour. */
export interface MessageWatch {
  /** Aborted with the error, or when the caller's own signal is. */
  signal: AbortSignal
  take: (text: string) => void
}

export function watchMessages(signal: AbortSignal): MessageWatch {
  const controller = new AbortController()
  let text = ''
  let timer: NodeJS.Timeout | undefined
  const judge = () => {
    timer = undefined
    const error = judgeMessages(text).find(({meaning}) => meaning !== 'harmless')
    if (error) controller.abort(notRestored(error.text))
  }
  return {
    signal: AbortSignal.any([signal, controller.signal]),
    take(more) {
      if (text.length < longestText) text += more
      timer ??= setTimeout(judge, settleMs).unref()
    },
  }
}

export const notRestored = (what: string, cause?: unknown): DbbakError =>
  new DbbakError('RESTORE_FAILED', `The backup could not be restored: ${what}`, {
    cause,
    suggestions: ['Test the backup by itself: dbbak verify --level restore'],
  })
