import {closest, findServerPrograms, type ServerPrograms} from './server-programs.js'

/** The server programs installed on this machine that fit, and what to say where there are none. */
export interface LocalSearch {
  programs: ServerPrograms | undefined
  found: string
}

/** Looks for an installed server of the wanted major version or a newer one. */
export async function searchLocal(
  major: number,
  env: Record<string, string | undefined>,
): Promise<LocalSearch> {
  const all = await findServerPrograms(env)
  const versions = all.map(({version, binFolder}) => `${version} in ${binFolder}`).join(', ')
  return {
    programs: closest(all, major),
    found:
      all.length === 0 ? 'no PostgreSQL server is installed' : `only PostgreSQL ${versions} is installed`,
  }
}
