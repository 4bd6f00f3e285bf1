import {randomBytes} from 'node:crypto'
import {setTimeout as delay} from 'node:timers/promises'
import type {Client} from 'pg'
import {asQueryError, connect} from '../../postgres/connect.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {quoteIdentifier, quoteLiteral} from '../../postgres/identifiers.js'
import {emptyDatabase} from '../../postgres/empty-database.js'
import {isDatabaseEmpty} from '../../postgres/is-database-empty.js'
import {claimDatabase} from '../../postgres/operation-lock.js'
import {describeServer, prepareSession} from '../../postgres/server.js'
import type {ScratchServer} from '../../postgres/scratch/scratch.js'
import {DbbakError, messageOf} from '../../support/errors.js'
import type {Manifest} from '../manifest.js'

/** An empty database that a backup is restored into and that is dropped afterwards. */
export interface ScratchDatabase {
  connection: ConnectionDescription
  major: number
  /** What differs from the source and may matter: another locale, a borrowed database. */
  notes: string[]
  drop(): Promise<void>
}

const prefix = 'dbbak_verify_'
/** A database of this age with nobody in it was left by a run that is dead. */
const staleAfterMs = 10 * 60_000

/** Makes a database like the backup's own on a scratch server: same encoding, same locale where the server has it. */
export async function createScratchDatabase(
  server: ScratchServer,
  source: Manifest['database'],
  signal: AbortSignal,
): Promise<ScratchDatabase> {
  const {client} = await connect(server.connection, {applicationName: 'dbbak verify', signal})
  try {
    await dropStale(client)
    const {major} = await describeServer(client)
    const name = `${prefix}${stamp()}_${randomBytes(3).toString('hex')}`
    const notes = await create(client, name, source, major)
    if (!notes) return await borrow(server.connection, major, signal)
    return {
      connection: server.connection.withDatabase(name),
      major,
      notes,
      drop: () => drop(server.connection, name),
    }
  } finally {
    await client.end().catch(() => {}) // it may be lost
  }
}

const stamp = () => new Date().toISOString().replace(/[-:]/g, '').slice(0, 15)

/** @returns what differs from the source, or undefined where the role may not create databases */
async function create(
  client: Client,
  name: string,
  source: Manifest['database'],
  major: number,
): Promise<string[] | undefined> {
  const base = `create database ${quoteIdentifier(name)} template template0 encoding ${quoteLiteral(source.encoding)}`
  const tries: [string, string[]][] = [
    [`${base} ${localeOptions(source, major)}`, []],
    [
      `${base} lc_collate 'C' lc_ctype 'C'`,
      [`The test server has no locale ${source.locale ?? source.collate}; C was used instead.`],
    ],
  ]
  let problem: unknown
  for (const [sql, notes] of tries) {
    try {
      await client.query(sql)
      return notes
    } catch (error) {
      if ((error as {code?: string}).code === '42501') return undefined
      problem = error
    }
  }
  throw asQueryError(problem, 'creating a scratch database')
}

function localeOptions(
  {collate, ctype, localeProvider, locale}: Manifest['database'],
  major: number,
): string {
  const libc = `lc_collate ${quoteLiteral(collate ?? 'C')} lc_ctype ${quoteLiteral(ctype ?? 'C')}`
  if (localeProvider === 'icu' && major >= 15)
    return `${libc} locale_provider icu icu_locale ${quoteLiteral(locale ?? 'und')}`
  if (localeProvider === 'builtin' && major >= 17)
    return `${libc} locale_provider builtin builtin_locale ${quoteLiteral(locale ?? 'C')}`
  return major >= 15 ? `${libc} locale_provider libc` : libc
}

/**
 * Without the right to create databases only the named one is left, and only when it holds nothing. Until it has been
 * emptied again it is claimed: of several restore tests one has it at a time.
 */
async function borrow(
  connection: ConnectionDescription,
  major: number,
  signal: AbortSignal,
): Promise<ScratchDatabase> {
  const {client} = await connect(connection, {applicationName: 'dbbak verify', signal})
  const giveBack = () => client.end().catch(() => {}) // it may be lost
  try {
    await prepareSession(client, 0)
    while (!(await claimDatabase(client, 'exclusive'))) await delay(claimEveryMs, undefined, {signal})
    if (!(await isDatabaseEmpty(client))) throw notEmpty(connection)
    return {
      connection,
      major,
      notes: ['The role may not create databases; the empty database of the URL was used.'],
      drop: () => emptyAgain(connection).finally(giveBack),
    }
  } catch (error) {
    await giveBack()
    signal.throwIfAborted()
    throw error
  }
}

const claimEveryMs = 300

function notEmpty(connection: ConnectionDescription): DbbakError {
  return new DbbakError(
    'SCRATCH_NOT_AVAILABLE',
    `The role may not create databases on the test server, and ${connection.redacted()} is not empty.`,
    {
      suggestions: [
        'On the test server: ALTER ROLE <role> CREATEDB',
        'Or let TEST_DATABASE_URL name an empty database.',
      ],
    },
  )
}

/**
 * In a session of its own: the one that holds the claim was idle for long, and may be lost. Not in one transaction: that
 * would need a lock for each of many tables, and there is nothing to go back to.
 */
async function emptyAgain(connection: ConnectionDescription): Promise<void> {
  const {client} = await connect(connection, {applicationName: 'dbbak verify'})
  try {
    await prepareSession(client, 0)
    const {isSuperuser} = await describeServer(client)
    await emptyDatabase(client, isSuperuser)
  } finally {
    await client.end().catch(() => {})
  }
}

async function drop(server: ConnectionDescription, name: string): Promise<void> {
  const {client} = await connect(server, {applicationName: 'dbbak verify'})
  try {
    await client.query(`drop database if exists ${quoteIdentifier(name)} with (force)`)
  } finally {
    await client.end()
  }
}

/** Drops what killed runs left on this server: databases with our name, of some age, with nobody in them. */
async function dropStale(client: Client): Promise<void> {
  const {rows} = await client.query<{name: string}>(
    `select datname as name from pg_catalog.pg_database d
      where datname like 'dbbak\\_verify\\_%' and not exists (select from pg_catalog.pg_stat_activity a where a.datid = d.oid)`,
  )
  for (const {name} of rows) {
    const [, date, time] = /^dbbak_verify_(\d{8})T(\d{6})_[0-9a-f]{6}$/.exec(name) ?? []
    if (!date || !time) continue
    const madeAt = Date.parse(
      `${date.replace(/(....)(..)(..)/, '$1-$2-$3')}T${time.replace(/(..)(..)(..)/, '$1:$2:$3')}Z`,
    )
    if (Date.now() - madeAt > staleAfterMs)
      await client.query(`drop database if exists ${quoteIdentifier(name)}`).catch(() => {})
  }
}

/**
 * Refuses to test on the production database, told by the server's own identity and not by how the URLs are spelt.
 * @throws DbbakError TEST_DATABASE_IS_PRODUCTION
 */
export async function refuseProduction(
  test: ConnectionDescription,
  production: ConnectionDescription,
): Promise<void> {
  const [a, b] = await Promise.all([
    identity(test),
    identity(production).catch((error: unknown) => messageOf(error)),
  ])
  if (a !== b) return
  throw new DbbakError(
    'TEST_DATABASE_IS_PRODUCTION',
    `TEST_DATABASE_URL and DATABASE_URL are the same database (${test.redacted()}); restore tests never touch production.`,
    {
      suggestions: [
        'Let TEST_DATABASE_URL name another server, or another database on this one.',
        'Or test on this machine: dbbak verify --scratch local',
      ],
    },
  )
}

/** System identifier, start time of the server (where the first may not be asked), and the database's oid. */
async function identity(description: ConnectionDescription): Promise<string> {
  const {client} = await connect(description, {applicationName: 'dbbak verify'})
  try {
    const {systemIdentifier, database} = await describeServer(client)
    const {rows} = await client.query<{started: string}>(
      'select pg_catalog.pg_postmaster_start_time()::text as started',
    )
    return `${systemIdentifier ?? rows[0]?.started}/${database.oid}`
  } finally {
    await client.end()
  }
}
