import {createHash} from 'node:crypto'
import {mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {
  restoreBackup,
  takeBackup,
  type BackupOptions,
  type DbbakError,
  type Manifest,
  type RestoreOptions,
  type RestoreResult,
} from '../../src/index.js'
import {toolsForDump, type ClientTools} from '../../src/postgres/client-tools.js'
import {quoteIdentifier} from '../../src/postgres/identifiers.js'
import {until} from './processes.js'
import {comparableDump, dumpDifferences, type ComparableDump} from './same-dump.js'
import {startServer, type ServerRequest, type TestServer} from './servers.js'

/** What a target can be after a restore, whatever happened. */
export type State = 'former' | 'backup' | 'something else'

/**
 * A server with a database `shop`, and a database `target` that differs from it in every way: what it takes to restore
 * one into the other and to say afterwards, by pg_dump, which of the two the target is.
 */
export interface RestorePlace {
  server: TestServer
  tools: ClientTools
  folder: string
  /** Where backups go. */
  backups: string
  env: Record<string, string | undefined>
  /** Makes the target what it is before a restore. */
  resetTarget(): Promise<void>
  backUp(options?: BackupOptions): Promise<Manifest>
  /** Restores the newest backup into the target, without asking. */
  restore(options?: RestoreOptions): Promise<RestoreResult>
  /** The same; gives the error and the document that comes with it. */
  failingRestore(options?: RestoreOptions): Promise<{error: DbbakError; document: RestoreResult}>
  /** A dump of any database of the server, for comparing. */
  dump(database: string): Promise<ComparableDump>
  /** What the target is now, by pg_dump. */
  state(): Promise<State>
  /** Waits until no session of anybody's but the test's is in the target, and no lock is left. */
  quiet(): Promise<void>
  end(): Promise<void>
}

export interface RestorePlaceRequest extends ServerRequest {
  /** Rows of the backup's largest table. */
  rows?: number
  /** The folder of the client tools, where they are not the installed ones. */
  pgBin?: string | undefined
}

const options = {latest: true, force: true, safetyBackup: false, strategy: 'in-place' as const}

export async function openRestorePlace(request: RestorePlaceRequest = {}): Promise<RestorePlace> {
  const folder = await mkdtemp(join(tmpdir(), 'restore-'))
  const server = await startServer(request)
  const backups = join(folder, 'backups')
  const {pgBin} = request
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    BACKUP_DIR: backups,
    ...(pgBin ? {DBBAK_PG_BIN: pgBin} : {}),
  }
  const tools = await toolsForDump(server.major, {env, pgBin})
  const run = {env, cwd: folder}
  const dump = async (database: string) => comparableDump(tools, await server.describe(database))
  const known = new Map<string, ComparableDump>()
  const is = async (database: string, found: ComparableDump) => {
    const wanted = known.get(database) ?? (await dump(database))
    known.set(database, wanted)
    return dumpDifferences(wanted, found).length === 0
  }
  await server.createDatabase('shop')
  await server.psql(shop(request.rows ?? 2000), 'shop')
  await server.createDatabase('former')
  await server.psql(former, 'former')
  const place: RestorePlace = {
    server,
    tools,
    folder,
    backups,
    env,
    async resetTarget() {
      await server.dropDatabase('target')
      await server.createDatabase('target', `template former`)
    },
    backUp: async (more) => (await takeBackup({...run, databaseUrl: server.url('shop'), ...more})).backup,
    restore: (more) => restoreBackup({...run, ...options, databaseUrl: server.url('target'), ...more}),
    async failingRestore(more) {
      const error: DbbakError = await place.restore(more).then(
        ({targetState}) => Promise.reject(new Error(`The restore succeeded: ${targetState}`)),
        (thrown: DbbakError) => thrown,
      )
      if (!error.details?.document) throw error
      return {error, document: error.details.document as RestoreResult}
    },
    dump,
    async state() {
      const found = await dump('target')
      if (await is('former', found)) return 'former'
      return (await is('shop', found)) ? 'backup' : 'something else'
    },
    quiet: () => until(() => isQuiet(server), 'no session and no lock is left in the target'),
    async end() {
      await server.stop()
      await rm(folder, {recursive: true, force: true})
    },
  }
  await place.resetTarget()
  return place
}

async function isQuiet(server: TestServer): Promise<boolean> {
  const rows = await server.query(
    `select pid from pg_stat_activity where datname = 'target' and backend_type = 'client backend'
     union all select pid from pg_locks where locktype = 'advisory'`,
  )
  return rows.length === 0
}

/** What the backup holds. */
const shop = (rows: number) => `
  create schema sales;
  create type sales.state as enum ('new', 'paid');
  create table customers (id int primary key, name text not null);
  create table sales.orders (id bigserial primary key, customer_id int not null references customers, state sales.state, note text unique);
  create index orders_by_customer on sales.orders (customer_id, state);
  create view open_orders as select * from sales.orders where state = 'new';
  create function total() returns bigint language sql as 'select count(*) from sales.orders';
  create procedure archive() language plpgsql as $$ begin delete from sales.orders where false; commit; end $$;
  insert into customers select g, 'customer ' || g from generate_series(1, ${rows / 10}) g;
  insert into sales.orders (customer_id, state, note) select 1 + g % ${rows / 10}, 'paid', 'note ' || g || repeat('-', 100) from generate_series(1, ${rows}) g;
  select lo_from_bytea(4711, 'kept in a large object') \\g /dev/null
  comment on table customers is 'those who buy';`

/** What the target holds before. */
const former = `
  create schema old;
  create table customers (id int primary key, name text, email text);
  create table old.invoices (id int primary key, customer_id int references customers, amount numeric);
  create function tax(numeric) returns numeric language sql as 'select $1 * 0.19';
  create view old.unpaid as select * from old.invoices where amount > 0;
  create sequence counter start 42;
  insert into customers select g, 'former ' || g, g || '@example.org' from generate_series(1, 300) g;
  insert into old.invoices select g, g, g * 1.5 from generate_series(1, 300) g;
  select lo_from_bytea(815, 'an older large object') \\g /dev/null
  select nextval('counter') \\g /dev/null`

/** Changes the newest backup's manifest and archive, one that is text, so that its checksum is right all the same. */
export async function doctor(
  place: RestorePlace,
  change: (dump: string) => string,
  changeManifest?: (manifest: Manifest) => void,
): Promise<void> {
  await doctorBytes(place, (bytes) => Buffer.from(change(bytes.toString('utf8'))), changeManifest)
}

/** Changes the newest backup's manifest alone. */
export async function doctorManifest(
  place: RestorePlace,
  change: (manifest: Manifest) => void,
): Promise<void> {
  await doctorBytes(place, (bytes) => bytes, change)
}

export async function doctorBytes(
  {backups}: RestorePlace,
  change: (bytes: Buffer) => Buffer,
  changeManifest: (manifest: Manifest) => void = () => {},
): Promise<void> {
  const names = (await readdir(backups)).filter((name) => name.endsWith('.metadata.json')).sort()
  const manifestFile = join(backups, names.at(-1)!)
  const manifest = JSON.parse(await readFile(manifestFile, 'utf8')) as Manifest
  const [file] = manifest.files
  const bytes = change(await readFile(join(backups, file.path)))
  await rm(join(backups, file.path))
  await writeFile(join(backups, file.path), bytes)
  Object.assign(file, {bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex')})
  changeManifest(manifest)
  await rm(manifestFile)
  await writeFile(manifestFile, JSON.stringify(manifest))
}

/** Removes every backup. */
export async function forgetBackups({backups}: RestorePlace): Promise<void> {
  await rm(backups, {recursive: true, force: true})
}

/** A role with rights of its own, in the server of the place. @returns the URL of the target for it */
export async function createOwner({server}: RestorePlace, name: string, settings = ''): Promise<string> {
  const role = quoteIdentifier(name)
  await server.query(`create role ${role} login password 'secret' ${settings}`)
  return server.url('target', name, 'secret')
}
