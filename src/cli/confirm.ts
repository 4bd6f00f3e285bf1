import {DbbakError} from '../support/errors.js'

export interface AskOptions {
  signal?: AbortSignal | undefined
  /** The flag that answers beforehand, named where nobody can be asked. */
  flag?: string
}

/** Whether somebody is there to answer. Questions go to stderr: stdout belongs to the result. */
export function canAsk(): boolean {
  return Boolean(process.stdin.isTTY && process.stderr.isTTY)
}

/**
 * Has the user type a word before something is destroyed.
 * @throws DbbakError CONFIRMATION_REQUIRED without a terminal; CANCELLED for any other answer and for Ctrl-C;
 *   the signal's reason when it was aborted
 */
export async function askToType(word: string, message: string, options: AskOptions = {}): Promise<void> {
  const {flag = '--force'} = options
  if (!canAsk()) {
    throw new DbbakError(
      'CONFIRMATION_REQUIRED',
      'This needs a confirmation, and there is no terminal to ask at.',
      {
        suggestions: [`Add ${flag} to go ahead without being asked.`],
      },
    )
  }
  const {input} = await import('@inquirer/prompts')
  const answer = await answered(options, (context) =>
    input({message: `${message} Type ${word} to go ahead:`}, context),
  )
  if (answer.trim() !== word) throw cancelled()
}

/** Asks a question that a plain Enter answers with the default; without a terminal the answer is no. */
export async function askYesNo(
  message: string,
  options: AskOptions & {default?: boolean} = {},
): Promise<boolean> {
  if (!canAsk()) return false
  const {confirm} = await import('@inquirer/prompts')
  return answered(options, (context) => confirm({message, default: options.default ?? false}, context))
}

export type Context = {output: NodeJS.WritableStream; signal?: AbortSignal}

/** What a question's answer is; an end of the question is an error that says so. */
export async function answered<T>({signal}: AskOptions, ask: (context: Context) => Promise<T>): Promise<T> {
  try {
    return await ask({output: process.stderr, ...(signal === undefined ? {} : {signal})})
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    if ((error as Error).name === 'ExitPromptError') throw cancelled()
    throw error
  }
}

export const cancelled = (): DbbakError => new DbbakError('CANCELLED', 'Cancelled; nothing was changed.')
