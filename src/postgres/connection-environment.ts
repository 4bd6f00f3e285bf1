import {join} from 'node:path'

/** What libpq would look at beside the connection string itself. */
export interface ConnectionEnvironment {
  env: Record<string, string | undefined>
  /** For ~/.pgpass, ~/.postgresql and ~/.pg_service.conf. */
  homeFolder: string
  /** The operating system's name of the user: libpq's default for the database user. */
  userName: string
}

/** Windows keeps what is in the home folder elsewhere in a folder for application data; undefined elsewhere. */
export function userFolder({env}: ConnectionEnvironment): string | undefined {
  return process.platform === 'win32' && env.APPDATA !== undefined
    ? join(env.APPDATA, 'postgresql')
    : undefined
}

/** The file that libpq reads for TLS when none is named: ~/.postgresql/root.crt and its like. */
export function defaultTlsFile(from: ConnectionEnvironment, name: string): string {
  return join(userFolder(from) ?? join(from.homeFolder, '.postgresql'), name)
}

export function defaultPassFile(from: ConnectionEnvironment): string {
  const folder = userFolder(from)
  return folder === undefined ? join(from.homeFolder, '.pgpass') : join(folder, 'pgpass.conf')
}
