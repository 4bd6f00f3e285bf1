import type {Client} from 'pg'
import {asQueryError, tellsOfConnectionLoss} from '../../postgres/query-errors.js'
import {qualified, quoteIdentifier} from '../../postgres/identifiers.js'
import {exclusiveLockHolders} from '../../postgres/server.js'
import {DbbakError} from '../../support/errors.js'

/** Whom to ask for particulars, and who was reading. */
export interface Reader {
  /** A session on the same server. */
  client: Client
  server: {role: string}
}

/** What pg_dump's words mean. The first that fits counts. */
const meanings: {
  words: Pick<RegExp, 'test'>
  explain: (words: string, reader: Reader) => Promise<DbbakError> | DbbakError
}[] = [
  {words: /lock timeout|could not obtain lock/i, explain: (_, {client}) => lockTimeout(client)},
  {words: /out of shared memory|max_locks_per_transaction/i, explain: () => lockTableTooSmall()},
  {words: /row-level security/i, explain: rowSecurity},
  {
    words:
      /invalid memory alloc request size|cannot enlarge string buffer|out of memory|result of (bytea )?.*too (long|large)/i,
    explain: (words, {client}) => valueTooLarge(words, client),
  },
  {words: /permission denied/i, explain: permissionDenied},
  {words: {test: tellsOfConnectionLoss}, explain: (stderr) => connectionLost(stderr)},
  {
    words: /server version mismatch/i,
    explain: (stderr) =>
      new DbbakError('CLIENT_TOOLS_TOO_OLD', `pg_dump refused: ${firstLine(stderr)}`, {
        suggestions: ['Check what is found: dbbak doctor'],
      }),
  },
]

/** Turns the failure of pg_dump into what happened, with what to do about it. */
export async function explainDumpFailure(error: unknown, reader: Reader): Promise<unknown> {
  if (!(error instanceof DbbakError) || error.code !== 'TOOL_FAILED') return error
  const stderr = typeof error.details?.stderr === 'string' ? error.details.stderr : ''
  const meaning = meanings.find(({words}) => words.test(stderr))
  try {
    return (await meaning?.explain(stderr, reader)) ?? dumpFailed(error)
  } catch {
    return dumpFailed(error)
  }
}

function dumpFailed(error: DbbakError): DbbakError {
  return new DbbakError('DUMP_FAILED', `${error.message} No backup was made.`, {
    suggestions: ['Check tools, database and destination: dbbak doctor', 'Then try again: dbbak backup'],
  })
}

/** Whether pg_dump found no room for the files that it writes itself, in the directory format. */
export function ranOutOfSpace(error: unknown): boolean {
  const stderr = error instanceof DbbakError ? error.details?.stderr : undefined
  return typeof stderr === 'string' && /No space left on device|Disk quota exceeded/i.test(stderr)
}

/** @param place the destination, as it may be printed */
export function noSpaceLeft(place: string, freeBytes: number | undefined): DbbakError {
  const left = freeBytes === undefined ? '' : ` (${freeBytes} bytes free)`
  return new DbbakError('DESTINATION_FULL', `No space is left at ${place}${left} for what pg_dump writes.`, {
    suggestions: ['Free space there, or name another destination: dbbak backup --to DEST'],
  })
}

/** Turns the failure of a query of ours into the same errors that pg_dump's words are turned into. */
export async function explainQueryFailure(error: unknown, doing: string, reader: Reader): Promise<unknown> {
  const known = asQueryError(error, doing)
  switch (known.code) {
    case 'LOCK_TIMEOUT':
      return lockTimeout(reader.client).catch(() => known)
    case 'ROW_SECURITY':
      return rowSecurity(known.message, reader)
    case 'PERMISSION_DENIED':
      return permissionDenied(known.message, reader)
    default:
      return known
  }
}

export async function lockTimeout(client: Client): Promise<DbbakError> {
  const holders = await exclusiveLockHolders(client)
  const who = holders.length > 0 ? `: ${holders.join('; ')}` : ''
  return new DbbakError('LOCK_TIMEOUT', `A table stayed locked longer than --lock-timeout allows${who}.`, {
    suggestions: [
      'Wait until that session has finished (often a migration), then: dbbak backup',
      'Or wait longer: dbbak backup --lock-timeout 30min',
    ],
  })
}

export function lockTableTooSmall(tables?: number, recommended = 256): DbbakError {
  const many =
    tables === undefined
      ? 'the tables of this database'
      : `the ${tables} tables, views and sequences of this database`
  return new DbbakError(
    'LOCK_TABLE_TOO_SMALL',
    `The server's lock table is too small to dump ${many} in one transaction; its size is set by max_locks_per_transaction.`,
    {
      suggestions: [
        `On the server: ALTER SYSTEM SET max_locks_per_transaction = ${recommended}; then restart it`,
        'Or back up schema by schema: dbbak backup --schema NAME',
      ],
    },
  )
}

function rowSecurity(words: string, {server: {role}}: Reader): DbbakError {
  const table = /policy for table "([^"]+)"/.exec(words)?.[1]
  return new DbbakError(
    'ROW_SECURITY',
    `Row-level security hides rows${table ? ` of table ${table}` : ''} from the role ${role}: a dump by it would not be complete, so none was made.`,
    {
      suggestions: [
        `Let it see everything, as a superuser: ALTER ROLE ${quoteIdentifier(role)} BYPASSRLS`,
        'Or back up as the owner of the tables or as a superuser.',
      ],
    },
  )
}

function permissionDenied(words: string, {server: {role}}: Reader): DbbakError {
  const object = /permission denied for ([^\n]+?)\.?$/m.exec(words)?.[1]?.trim()
  return new DbbakError(
    'PERMISSION_DENIED',
    `The role ${role} may not read everything: permission denied for ${object ?? 'an object'}.`,
    {
      suggestions: [
        `Let it read, as a superuser: GRANT pg_read_all_data TO ${quoteIdentifier(role)} (PostgreSQL 14 and newer)`,
        'Or leave that part out: dbbak backup --exclude-schema NAME, or --exclude-table NAME',
      ],
    },
  )
}

function connectionLost(stderr: string): DbbakError {
  return new DbbakError(
    'CONNECTION_LOST',
    `The server ended the connection during the dump: ${firstLine(stderr)}`,
    {
      suggestions: ['Look into the server log for the reason, then: dbbak backup'],
    },
  )
}

async function valueTooLarge(stderr: string, client: Client): Promise<DbbakError> {
  const name = /table "([^"]+)" failed|COPY (\S+) \(/.exec(stderr)
  const copied = /COPY ([^\n(]+?) \(/.exec(stderr)?.[1]
  const columns = copied ? await largeColumns(client, copied) : []
  const place =
    columns.length > 0 ? `${copied}, column ${columns.join(' and ')}` : (copied ?? name?.[1] ?? 'a table')
  return new DbbakError(
    'VALUE_TOO_LARGE',
    `A row of ${place} holds a value too large to be dumped: written as text it exceeds the server's limit of 1 GB.`,
    {
      suggestions: [
        'Store such values as large objects, or in pieces of at most 256 MB',
        `Or leave the rows of that table out: dbbak backup --exclude-table-data ${copied ? `'${copied}'` : 'NAME'}`,
      ],
    },
  )
}

const largeBytes = 256 * 1024 * 1024

/** Columns of a table whose longest value is suspiciously long. @param table as pg_dump names it in COPY, quoted where needed */
async function largeColumns(client: Client, table: string): Promise<string[]> {
  const {rows} = await client.query<{schema: string; name: string; column: string}>(
    `select n.nspname as schema, c.relname as name, a.attname as column
       from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where a.attrelid = $1::pg_catalog.regclass and a.attnum > 0 and not a.attisdropped
        and a.atttypid in ('bytea'::regtype, 'text'::regtype, 'varchar'::regtype)`,
    [table],
  )
  const large: string[] = []
  for (const {schema, name, column} of rows) {
    const quoted = `"${column.replaceAll('"', '""')}"`
    const longest = await client.query<{bytes: string}>(
      `select coalesce(max(octet_length(${quoted})), 0) as bytes from ${qualified(schema, name)}`,
    )
    if (Number(longest.rows[0]?.bytes) >= largeBytes) large.push(column)
  }
  return large
}

function firstLine(stderr: string): string {
  return (
    stderr.split('\n').find((line) => /error|fatal/i.test(line)) ??
    stderr.split('\n')[0] ??
    ''
  ).replace(/^\w+: (error: )?/, '')
}
