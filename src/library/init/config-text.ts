import {isAbsolute, relative, resolve, sep} from 'node:path'
import {stringify} from 'yaml'
import {parseDestination} from '../../storage/open-provider.js'
import type {InitPlan} from './plan.js'

export const configName = 'dbbak.config.yaml'

/** The config file: what was chosen is in force, what else there is stands beside it as a comment. */
export function configText(plan: InitPlan): string {
  return [
    '# How dbbak backs this database up. What is in force, and where it comes from: dbbak doctor',
    '# A flag goes before an environment variable, a variable before this file.',
    '# Secrets do not belong here: write ${NAME}, and the value is taken from the environment.',
    '',
    ...databaseLines(),
    ...destinationLines(plan),
    ...formatLines(plan),
    "# The server's roles and tablespaces too, without passwords: a new server lacks them.",
    'globals: true',
    '',
    '# dbbak prune removes backups that are older, in days. The newest complete backup always stays.',
    `retentionDays: ${plan.keepDays}`,
    '',
    ...scratchLines(plan),
    '# How backups are compressed: zstd (level 1 to 22), gzip, lz4 or none.',
    '# compress: zstd:3',
    '',
    '# How long to wait for a table that somebody else has locked.',
    '# lockTimeout: 5min',
    '',
    '# Bytes a second to and from destinations, so that backups leave room for others on the line.',
    '# bandwidthLimit: 20MB',
    '',
    ...storeLines(plan),
  ].join('\n')
}

/**
 * DATABASE_URL is read without being named. Naming it would only make every command fail where it is not set, such as
 * `dbbak list` on a machine that has the backups but not the database.
 */
function databaseLines(): string[] {
  return [
    '# The database is the one that the variable DATABASE_URL names; it is read without being written here:',
    '# databaseUrl: ${DATABASE_URL}',
    '',
  ]
}

function destinationLines({destinations, folder}: InitPlan): string[] {
  return [
    '# Where backups go: folders (relative to this file) or s3://bucket/prefix, gs://bucket/prefix,',
    '# azblob://container/prefix. All of them are fed from one dump. Keep one of them on another machine.',
    `to:`,
    ...destinations.map((destination) => `  - ${scalar(asWritten(destination, folder))}`),
    '',
  ]
}

/** A folder below the config file is written relative to it, so that both can be moved together. */
export function asWritten(destination: string, folder: string): string {
  const parsed = parseDestination(destination)
  if (parsed.kind !== 'local' || destination.startsWith('file:')) return destination
  if (destination.startsWith('~')) return parsed.path // whose home it is depends on who runs it
  const fromHere = relative(folder, resolve(folder, parsed.path))
  const isBelow = fromHere !== '' && fromHere.split(sep)[0] !== '..' && !isAbsolute(fromHere)
  return isBelow ? `./${fromHere.split(sep).join('/')}` : destination
}

/** `${` in a name would be taken for a variable. */
const scalar = (text: string): string =>
  stringify(
    text.replaceAll('${', () => '$${'),
    {lineWidth: 0},
  ).trimEnd()

function formatLines({format}: InitPlan): string[] {
  return [
    '# The format custom is one file, from which any table can be restored. directory is one file a table, dumped and',
    '# restored in parallel, for large databases. plain is SQL to read, and restored as a whole only.',
    `format: ${format}`,
    ...(format === 'directory' ? ['# Tables dumped at a time.', 'jobs: 2'] : []),
    '',
  ]
}

function scratchLines({usesTestServer}: InitPlan): string[] {
  return [
    usesTestServer
      ? '# Restore tests run on the server that TEST_DATABASE_URL names; it is read without being written here:'
      : '# Restore tests start a server of their own. To have them run on another one, set TEST_DATABASE_URL:',
    '# testDatabaseUrl: ${TEST_DATABASE_URL}',
    '',
  ]
}

/** Options of the stores that are in use, to be switched on. */
function storeLines({destinations}: InitPlan): string[] {
  const kinds = new Set(destinations.map((destination) => parseDestination(destination).kind))
  const lines: Partial<Record<string, string[]>> = {
    s3: [
      '# s3:',
      '#   endpoint: https://s3.example.com   # an S3-compatible store; without it AWS',
      '#   storageClass: STANDARD_IA',
      '#   objectLock: {mode: GOVERNANCE, days: 30}   # nobody can remove a backup for so long',
    ],
    gs: ['# gcs:', '#   storageClass: NEARLINE'],
    azblob: ['# azure:', '#   tier: Cool'],
  }
  const chosen = [...kinds].flatMap((kind) => lines[kind] ?? [])
  return chosen.length === 0 ? [] : ['# How objects are kept there.', ...chosen, '']
}
