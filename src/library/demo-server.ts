import {findClientTools, toolsForDump, type ClientTools} from '../postgres/client-tools.js'
import {installHint} from '../postgres/install-hint.js'
import {findServerPrograms} from '../postgres/scratch/server-programs.js'
import {openScratchServer, type Download, type ScratchServer} from '../postgres/scratch/scratch.js'
import {DbbakError} from '../support/errors.js'
import type {Context} from './context.js'

/** Where the demo's server comes from; `auto` takes an installed one where there is one that fits. */
export type DemoScratch = 'auto' | 'local' | 'embedded'

/** Which server the demo starts. */
export interface ServerChoice {
  kind: 'local' | 'embedded'
  major: number
}

/** Majors that npm has servers of. */
const [oldestEmbedded, newestEmbedded] = [14, 18]

/**
 * Chooses a server that the client tools found here can back up: the newest such. Looks only, starts nothing.
 * @throws DbbakError CLIENT_TOOLS_NOT_FOUND, CLIENT_TOOLS_TOO_OLD
 */
export async function chooseServer({search, env}: Context, scratch: DemoScratch): Promise<ServerChoice> {
  const newest = (await findClientTools(search)).at(-1) ?? noTools(search.pgBin)
  const installed = scratch === 'embedded' ? [] : await findServerPrograms(env)
  const fitting = installed.findLast(({major}) => major <= newest.major)
  if (fitting) return {kind: 'local', major: fitting.major}
  if (scratch === 'local' && installed[0]) await toolsForDump(installed[0].major, search)
  const kind = scratch === 'local' ? 'local' : 'embedded'
  return {kind, major: kind === 'local' ? newest.major : await embeddedMajor(newest, search)}
}

async function embeddedMajor(newest: ClientTools, search: Context['search']): Promise<number> {
  if (newest.major < oldestEmbedded) await toolsForDump(oldestEmbedded, search)
  return Math.min(newest.major, newestEmbedded)
}

function noTools(pgBin: string | undefined): never {
  const where = pgBin ? `in DBBAK_PG_BIN (${pgBin})` : 'on PATH or in the usual folders'
  throw new DbbakError(
    'CLIENT_TOOLS_NOT_FOUND',
    `pg_dump, pg_restore and psql were not found ${where}; the demo backs up and restores with them. Nothing was fetched or started.`,
    {
      suggestions: [
        installHint(newestEmbedded),
        'Or name the folder that holds them: DBBAK_PG_BIN=/path/to/bin dbbak demo',
      ],
    },
  )
}

/**
 * Starts the chosen server.
 * @throws DbbakError SCRATCH_NOT_AVAILABLE, DOWNLOAD_REFUSED, SCRATCH_FAILED
 */
export async function openDemoServer(
  {env, homeFolder, events, signal}: Context,
  choice: ServerChoice,
  mayDownload: ((what: Download) => Promise<boolean>) | undefined,
): Promise<ScratchServer> {
  try {
    return await openScratchServer({...choice, env, homeFolder, events, signal, mayDownload})
  } catch (error) {
    const code = error instanceof DbbakError ? error.code : undefined
    if (code !== 'SCRATCH_NOT_AVAILABLE' && code !== 'DOWNLOAD_REFUSED') throw error
    throw new DbbakError(code, `The demo has no server to run on. ${(error as DbbakError).message}`, {
      cause: (error as DbbakError).cause,
      suggestions: [
        ...(code === 'DOWNLOAD_REFUSED' || choice.kind === 'local' ? ['dbbak demo --scratch embedded'] : []),
        `Or install a PostgreSQL server of version ${choice.major} or older (at least 13), then: dbbak demo`,
      ],
    })
  }
}
