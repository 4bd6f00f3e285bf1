import {DbbakError} from '../support/errors.js'
import {shellWord} from '../support/shell.js'
import {snapshotMs, type Catalog, type CatalogEntry, type CatalogProblem} from './catalog.js'
import {manifestEnding, prefixOf, timeInName} from './naming.js'
import {cautionsOf, newestOf, type Caution} from './newest-backup.js'
import {ofOneServer, type Whose} from './whose.js'

/** Which backup is meant. */
export type BackupChoice =
  | {name: string}
  | (({latest: true} | {notAfter: Date}) & {
      /** Only backups of this database. */
      of?: Whose | undefined
      /** Where there are backups of several databases and none of them is asked for: those of this one, if there are. */
      preferring?: Whose | undefined
      /** Then no others either: what is chosen replaces something. */
      refusingOthers?: boolean | undefined
      /** What was taken later is from the future; without it nothing is. */
      now?: Date | undefined
    })

/** What was found, and what whoever asked should know. */
export interface Found {
  entry: CatalogEntry
  cautions: Caution[]
}

/**
 * Finds a backup by name: its id, its archive's name, or a beginning of these that only one has.
 * Safety backups are found by name only; `latest` never means one. Where backups of several databases lie together, the
 * newest is that of the database that is meant.
 * @throws DbbakError BACKUP_NOT_FOUND, BACKUP_NAME_AMBIGUOUS, or what is wrong with the manifest of that name
 */
export function findBackup(catalog: Catalog, choice: BackupChoice, destination: string): CatalogEntry {
  return findWithCautions(catalog, choice, destination).entry
}

/** The same, and what is to be said of the choice. The newest is one of the whole database, if there are such. */
export function findWithCautions(catalog: Catalog, choice: BackupChoice, destination: string): Found {
  if ('name' in choice) return {entry: byName(catalog, choice.name, destination), cautions: []}
  const candidates = ofOneDatabase(
    catalog.backups.filter(({manifest}) => manifest.kind === 'backup'),
    choice,
    destination,
  )
  const limitMs = 'latest' in choice ? Infinity : choice.notAfter.getTime()
  const before = candidates.filter((entry) => snapshotMs(entry) <= limitMs)
  const entry = newestOf(before, choice.now)
  if (entry !== undefined) return {entry, cautions: cautionsOf(entry, before, choice.now)}
  if ('latest' in choice) return none(`There is no backup at ${destination}.`)
  return none(`There is no backup at ${destination} from ${choice.notAfter.toISOString()} or before.`)
}

/** The newest backup of whatever database happened to be dumped last is nobody's wish. */
function ofOneDatabase(
  backups: CatalogEntry[],
  choice: Exclude<BackupChoice, {name: string}>,
  destination: string,
): CatalogEntry[] {
  const {of, preferring, refusingOthers} = choice
  const named = ofOneName(backups, choice, destination)
  const found = ofOneServer(named, of?.host === undefined ? preferring : of)
  if (found !== undefined) return found
  if (!refusingOthers) return named
  const hosts = [...new Set(named.map(({manifest: {database}}) => `${database.host}:${database.port}`))]
  throw new DbbakError(
    'BACKUP_NAME_AMBIGUOUS',
    `At ${destination} there are backups of databases of this name on several servers (${hosts.slice(0, 5).join(', ')}), none of them the target. Which is meant?`,
    {suggestions: [`Name the backup, from: dbbak list --from ${shellWord(destination)}`]},
  )
}

function ofOneName(
  backups: CatalogEntry[],
  {of, preferring, refusingOthers}: Exclude<BackupChoice, {name: string}>,
  destination: string,
): CatalogEntry[] {
  const names = [...new Set(backups.map(({manifest}) => manifest.database.name))]
  const called = (name: string) => backups.filter(({manifest}) => manifest.database.name === name)
  if (of !== undefined) {
    if (names.includes(of.name)) return called(of.name)
    return noneOf(of, destination)
  }
  if (names.length < 2 || preferring === undefined) return backups
  if (names.includes(preferring.name)) return called(preferring.name)
  if (!refusingOthers) return backups
  throw new DbbakError(
    'BACKUP_NAME_AMBIGUOUS',
    `There are backups of ${names.length} databases at ${destination} (${names.slice(0, 5).join(', ')}), none of them of ${preferring.name}. Which is meant?`,
    {suggestions: [`Say whose: --database ${names[0] ?? ''}`, 'Or name the backup, from: dbbak list']},
  )
}

function byName({backups, problems}: Catalog, name: string, destination: string): CatalogEntry {
  const wanted = name.endsWith(manifestEnding) ? name.slice(0, -manifestEnding.length) : name
  const exact = backups.filter(({archive, manifest}) => archive === wanted || manifest.id === wanted)
  const matching = exact.length > 0 ? exact : backups.filter(({archive}) => archive.startsWith(wanted))
  const [first, ...others] = matching
  if (first && others.length === 0) return first
  if (first) {
    throw new DbbakError(
      'BACKUP_NAME_AMBIGUOUS',
      `${name} could be ${matching
        .map(({archive}) => archive)
        .slice(0, 5)
        .join(' or ')}.`,
      {
        suggestions: ['Give more of the name: dbbak list'],
      },
    )
  }
  const broken = problems.find(({key}) => key.startsWith(wanted))
  if (broken) throw notComplete(name, broken)
  return none(`There is no backup ${name} at ${destination}.`)
}

/** A backup that was named and cannot be used, so that nothing was done. */
function notComplete(name: string, {code, message, key}: CatalogProblem): DbbakError {
  return new DbbakError(code, `${name} is not a complete backup: ${message}`, {
    suggestions: ['Use another backup: dbbak list'],
    details: {key},
  }).during(3)
}

/**
 * What by its name is a backup, newer than all that are complete, but is damaged or lacks a file: whoever asks for
 * the newest should know of it.
 */
export function brokenSinceNewest(
  {problems, backups}: Catalog,
  newest = backups.find(({manifest}) => manifest.kind === 'backup'),
): CatalogProblem[] {
  const newestMs = newest ? snapshotMs(newest) : -Infinity
  const isSeveral = new Set(backups.map(({manifest}) => manifest.database.name)).size > 1
  // Whose a damaged one is only its name can tell; another database's trouble is not this one's.
  const isOurs = (key: string) =>
    !isSeveral || !newest || prefixOf(key) === prefixOf(`${newest.manifest.id}.`)
  return problems.filter(({key}) => (timeInName(key) ?? -Infinity) > newestMs && isOurs(key))
}

/** @throws DbbakError BACKUP_NOT_FOUND */
export const noneOf = ({name}: Whose, destination: string): never =>
  none(`There is no backup of the database ${name} at ${destination}.`)

function none(message: string): never {
  throw new DbbakError('BACKUP_NOT_FOUND', message, {
    suggestions: [
      'See what there is: dbbak list',
      'Name another destination: dbbak list --from DEST',
      'Take one: dbbak backup',
    ],
  })
}
