import {writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import type {ConnectionDescription} from '../postgres/connection.js'
import type {Context, RunOptions} from './context.js'

/**
 * What the demo's commands run with, as a user would who has set the database and the folder in the environment and
 * nothing else: none of the settings that are in force here lead to a real database or a real backup.
 */
export async function asDemoUser(
  {env, events, signal, clock, settings}: Context,
  database: ConnectionDescription,
  folder: string,
): Promise<RunOptions> {
  const config = join(folder, 'dbbak.config.json')
  await writeFile(config, '{}\n', {mode: 0o600})
  const pgBin = settings.pgBin.value
  return {
    env: {
      ...database.toolEnvironment(withoutSettings(env)),
      BACKUP_DIR: backupFolder(folder),
      ...(pgBin === undefined ? {} : {DBBAK_PG_BIN: pgBin}),
    },
    cwd: folder,
    config,
    events,
    signal,
    clock,
  }
}

/** Where the demo's backups go. */
export const backupFolder = (folder: string): string => join(folder, 'backups')

function withoutSettings(env: Context['env']): Context['env'] {
  const ours = /^(DATABASE_URL|TEST_DATABASE_URL|BACKUP_DIR|RETENTION_DAYS|DBBAK_(?!CACHE_DIR$).*)$/
  return Object.fromEntries(Object.entries(env).filter(([name]) => !ours.test(name)))
}
