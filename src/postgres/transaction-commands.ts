const blanks = String.raw`(?:\s|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*\*/)*`
const modes = 'isolation|level|serializable|repeatable|committed|uncommitted|read|write|only|not|deferrable'
const optionalModes = String.raw`(?:\s+(?:${modes}|,|\s)+)?`
const optionalWord = String.raw`(?:\s+(?:work|transaction))?`
const optionalChain = String.raw`(?:\s+and(?:\s+no)?\s+chain)?`

const alone = (words: string) => new RegExp(`^${blanks}(?:${words})\\s*;?${blanks}$`, 'i')

const startCommand = alone(`start\\s+transaction${optionalModes}`)
const beginCommand = alone(`begin${optionalWord}${optionalModes}`)
const commitCommand = alone(`(?:commit|end)${optionalWord}${optionalChain}`)
const rollbackCommand = alone(`(?:rollback|abort)${optionalWord}${optionalChain}`)

/** What a statement does to the transaction it runs in, where that is all it does; undefined for every other one. */
export type TransactionCommand = 'START TRANSACTION' | 'BEGIN' | 'COMMIT' | 'ROLLBACK'

export function transactionCommand(sql: string): TransactionCommand | undefined {
  if (startCommand.test(sql)) return 'START TRANSACTION'
  if (beginCommand.test(sql)) return 'BEGIN'
  if (commitCommand.test(sql)) return 'COMMIT'
  return rollbackCommand.test(sql) ? 'ROLLBACK' : undefined
}
