/** One error that pg_restore or psql reported, in the server's words. */
export interface RestoreMessage {
  text: string
  meaning: 'harmless' | 'role-missing' | 'extension-missing' | 'error'
}

const meanings: [RegExp, RestoreMessage['meaning']][] = [
  // pg_restore 17 and newer set it in every session; older servers do not have it, and nothing depends on it.
  [/unrecognized configuration parameter "transaction_timeout"/, 'harmless'],
  [/must be owner of extension/, 'harmless'],
  [/role "(.*)" does not exist/, 'role-missing'],
  [
    /extension "(.*)" is not available|could not open extension control file|has no installation script|access method ".*" does not exist/,
    'extension-missing',
  ],
]

/**
 * The errors among a tool's messages, each judged by name: a missing role leaves every row in place, a failed COPY
 * an empty table. What is not known to be harmless is an error.
 */
export function judgeMessages(stderr: string): RestoreMessage[] {
  const texts = [...stderr.matchAll(/^.*?\b(?:ERROR|FATAL|PANIC): +(.*)$/gm)].map(([, text = '']) =>
    text.trim(),
  )
  // pg_restore's own errors, without a server's behind them.
  const own = [
    ...stderr.matchAll(/^pg_restore: error: (?!could not execute query|COPY failed for table)(.*)$/gm),
  ]
    .map(([, text = '']) => text.trim())
    .filter((text) => !/\b(?:ERROR|FATAL): /.test(text))
  return [...texts, ...own].map((text) => ({
    text,
    meaning: meanings.find(([words]) => words.test(text))?.[1] ?? 'error',
  }))
}
