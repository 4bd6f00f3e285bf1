import {listBackups as listInEngine, type ListResult} from '../engine/list-backups.js'
import {withExitCode} from '../support/errors.js'
import {catalogCache} from './catalog-cache-file.js'
import {openContext, openStore, sourceOf, usingStores, whoseAreMeant, type RunOptions} from './context.js'

export interface ListOptions extends RunOptions {
  /** The destination to list; by default where backups go. */
  from?: string | undefined
  /** Only backups of a database of this name; with `database` those of that one. */
  of?: string | undefined
  limit?: number | undefined
  allKinds?: boolean | undefined
  incomplete?: boolean | undefined
}

/** Lists the complete backups of a destination, newest first. */
export async function listBackups(options: ListOptions = {}): Promise<ListResult> {
  return withExitCode(8, async () => {
    const context = await openContext(options)
    const store = await openStore(context, sourceOf(context, options.from))
    const {limit, allKinds = false, incomplete = false} = options
    const request = {limit, allKinds, incomplete, of: await whoseAreMeant(options)}
    return usingStores([store], () =>
      listInEngine(store, request, context.clock, catalogCache(context, store)),
    )
  })
}
