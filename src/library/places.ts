import {resolve} from 'node:path'
import {parseDestination} from '../storage/open-provider.js'

export const eachOnce = (destinations: string[], cwd: string): string[] => [
  ...new Map(destinations.map((one) => [placeOf(one, cwd), one])).values(),
]

/**
 * The same for all ways to write a destination: as its store describes itself, which may be one that cannot be opened.
 * @throws DbbakError DESTINATION_INVALID
 */
export function placeOf(destination: string, cwd: string): string {
  const parsed = parseDestination(destination)
  if (parsed.kind === 'local') return resolve(cwd, parsed.path)
  return `${parsed.kind}://${parsed.bucket}/${parsed.prefix}`.replace(/\/$/, '')
}
