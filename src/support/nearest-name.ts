/** The known name that a mistyped one most likely meant; undefined when none is close. */
export function nearestName(typed: string, known: Iterable<string>): string | undefined {
  const allowed = Math.max(1, Math.floor(typed.length / 3))
  let best: {name: string; distance: number} | undefined
  for (const name of known) {
    const distance = editDistance(plain(typed), plain(name))
    if (distance <= allowed && distance < (best?.distance ?? Infinity)) best = {name, distance}
  }
  return best?.name
}

/** backup_dir, backup-dir and backupDir are the same word, spelt after different habits. */
const plain = (name: string): string => name.toLowerCase().replace(/[-_]/g, '')

/** Insertions, deletions, replacements and swaps of neighbours that turn one word into the other. */
function editDistance(from: string, to: string): number {
  let beforeLast: number[] = []
  let last = Array.from({length: to.length + 1}, (_, j) => j)
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const replaced = last[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1)
      row[j] = Math.min(last[j]! + 1, row[j - 1]! + 1, replaced)
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
      if (swapped) row[j] = Math.min(row[j]!, beforeLast[j - 2]! + 1)
    }
    beforeLast = last
    last = row
  }
  return last[to.length]!
}
