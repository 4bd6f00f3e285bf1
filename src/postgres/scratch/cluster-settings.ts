/** Where a throw-away server listens: a socket in its own folder, or a loopback port. */
export type Endpoint = {socketFolder: string} | {port: number}

/** The port number in the name of a socket; the socket's folder is private, so it cannot be taken. */
export const socketPort = 5432

/** What the kernel takes as the path of a socket, less the closing zero byte. */
const socketPathLimitBytes = 103

/** Whether a socket in this folder can be used on this system. */
export function fitsSocket(folder: string): boolean {
  const socket = `${folder}/.s.PGSQL.${socketPort}`
  return process.platform !== 'win32' && Buffer.byteLength(socket) <= socketPathLimitBytes
}

/**
 * postgresql.conf of a server that lives for one test. Losing its data in a crash is allowed, so nothing waits for
 * the disk; a restore must not fail for lack of locks or of shared memory (`mmap`: containers have a /dev/shm of
 * 64 MB). No autovacuum: it would compete with the restore and the checks, which read every table once. Statements
 * stay out of the log, they carry data.
 */
export function postgresqlConf(endpoint: Endpoint, settings: Record<string, string> = {}): string {
  const all: Record<string, string> = {...throwAway, ...addressOf(endpoint), ...settings}
  return Object.entries(all)
    .map(([name, value]) => `${name} = ${quoted(value)}\n`)
    .join('')
}

/** pg_hba.conf: a password for everybody, from this machine only. */
export const pgHbaConf = `local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
`

const throwAway = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '2GB',
  checkpoint_timeout: '1h',
  autovacuum: 'off',
  max_connections: '50',
  max_locks_per_transaction: '1024',
  shared_buffers: '128MB',
  maintenance_work_mem: '128MB',
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_min_error_statement: 'panic',
  lc_messages: 'C',
  password_encryption: 'scram-sha-256',
  ...(process.platform === 'win32' ? {} : {dynamic_shared_memory_type: 'mmap'}),
}

function addressOf(endpoint: Endpoint): Record<string, string> {
  if ('port' in endpoint) return {listen_addresses: '127.0.0.1', port: String(endpoint.port), ...noSocket}
  return {
    listen_addresses: '',
    port: String(socketPort),
    unix_socket_directories: quotedFolder(endpoint.socketFolder),
  }
}

const noSocket = {unix_socket_directories: ''}

/** A list of folders, with commas between: one with a comma or a blank in its name is put in double quotes. */
function quotedFolder(folder: string): string {
  return `"${folder.replaceAll('"', '""')}"`
}

function quoted(value: string): string {
  return `'${value.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`
}
