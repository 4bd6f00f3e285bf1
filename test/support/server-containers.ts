import type {RunningServer} from './servers.js'

/** A server from the official image, for machines with Docker: the majors that no package is at hand of. */
export async function startContainer(
  major: number,
  settings: Record<string, string> = {},
): Promise<RunningServer> {
  const {PostgreSqlContainer} = await import('@testcontainers/postgresql')
  const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const container = await new PostgreSqlContainer(`postgres:${major}`)
    .withCommand(['postgres', ...options])
    .start()
  const signal = async (name: NodeJS.Signals) => {
    await container.exec(['kill', '-s', name.replace('SIG', ''), '1'])
  }
  return {
    major,
    url: (database = 'postgres', user = container.getUsername(), password = container.getPassword()) =>
      `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${container.getHost()}:${container.getPort()}/${encodeURIComponent(database)}`,
    kill: signal,
    start: () => container.restart(),
    stop: async () => {
      await container.stop()
    },
    dataFolder: undefined,
    logFile: undefined,
  }
}
