import type {Leftover, StorageProvider} from '../../storage/provider.js'
import {DbbakError} from '../../support/errors.js'
import type {CatalogCache} from '../catalog-cache.js'
import {readCatalog, type Catalog} from '../catalog.js'
import type {StatusFinding} from './finding.js'

/** What one destination holds, or why nobody knows. */
export type DestinationState =
  | {destination: string; catalog: Catalog; leftovers: Leftover[]}
  | {destination: string; unreachable: StatusFinding}

/** Reads a destination. One that cannot be read is a finding, not an error: the others are to be told of all the same. */
export async function lookAtDestination(
  store: StorageProvider,
  cache: CatalogCache | undefined,
  signal: AbortSignal,
): Promise<DestinationState> {
  const destination = store.describe()
  try {
    const catalog = await readCatalog(store, cache)
    const leftovers: Leftover[] = []
    for await (const leftover of store.leftovers()) leftovers.push(leftover)
    signal.throwIfAborted()
    return {destination, catalog, leftovers}
  } catch (error) {
    signal.throwIfAborted()
    return {destination, unreachable: unreachableFinding(error, destination)}
  }
}

/** @throws what no destination fails with */
export function unreachableFinding(error: unknown, destination: string): StatusFinding {
  if (!(error instanceof DbbakError)) throw error
  const {code, message, suggestions} = error
  return {
    code,
    severity: 'error',
    message,
    destination,
    suggestion: suggestions[0] ?? 'See what is wrong with it: dbbak doctor',
  }
}
