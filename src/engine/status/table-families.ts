/** Tables that rotate (log_2026_11_29, log_2026_11_30, …): each day one comes, and another goes. */
export interface TableHistory {
  /** Tables of the newest backup. */
  now: ReadonlySet<string>
  /** Tables of the backups before it, oldest first. */
  before: ReadonlySet<string>[]
}

/** Of digits as long as a year's at least: other numbers are shards as often as turns. */
const datedDigits = 4

/**
 * The tables that went as others of their kind go. Tables are of a kind whose names differ in digits only. One has gone
 * in its turn if it was the first of its kind, if others of the kind are left, and if such tables have come lately or
 * their digits are those of a date. Where one goes from the midst of the others it is a loss.
 */
export function rotatedAway({now, before}: TableHistory): Set<string> {
  const known = new Set(before.flatMap((tables) => [...tables]))
  const last = before.at(-1) ?? new Set<string>()
  const families = Map.groupBy(new Set([...known, ...now]), familyOf)
  const gone = new Set<string>()
  for (const [family, members] of families) {
    if (members.length < 2 || !family.includes('#')) continue
    const left = members.filter((name) => now.has(name))
    const haveCome = left.some((name) => !before[0]?.has(name) || !last.has(name))
    for (const name of members) {
      if (now.has(name) || left.length === 0) continue
      const isFirst = isYearLast(name) || left.every((other) => comesBefore(name, other))
      if (isFirst && (haveCome || digitsOf(name).join('').length >= datedDigits)) gone.add(name)
    }
  }
  return gone
}

const familyOf = (name: string): string => name.replace(/\d+/g, '#')

const digitsOf = (name: string): string[] => name.match(/\d+/g) ?? []

/** log_29_11_2026: its numbers do not tell which came first. */
function isYearLast(name: string): boolean {
  const digits = digitsOf(name)
  return digits.length > 1 && digits.at(-1)!.length === 4 && digits[0]!.length < 4
}

/** By their numbers from left to right. */
function comesBefore(name: string, other: string): boolean {
  const [numbers, others] = [digitsOf(name).map(BigInt), digitsOf(other).map(BigInt)]
  const at = numbers.findIndex((number, index) => number !== others[index])
  return at !== -1 && numbers[at]! < others[at]!
}
