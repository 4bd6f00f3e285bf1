import {DbbakError} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'
import {snapshotMs, type Catalog, type CatalogEntry, type CatalogProblem} from '../catalog.js'
import {brokenSinceNewest, findBackup, findWithCautions, noneOf} from '../find-backup.js'
import {timeInName} from '../naming.js'
import type {Caution} from '../newest-backup.js'
import {onlyOf, type Whose} from '../whose.js'

/** Which backups are to be copied. */
export type CopyChoice =
  | {name: string}
  | {latest: true; now: Date}
  /** All; those whose snapshot is not older than `since`, where it is given. `allKinds`: safety backups too. */
  | {all: true; since: Date | undefined; allKinds: boolean}

export interface Chosen {
  /** Newest first: they are worth most. */
  backups: CatalogEntry[]
  /** What is meant too, by its name, and is damaged or lacks a file: it is reported, not passed over. */
  broken: CatalogProblem[]
  /** What is to be said of the choice. */
  cautions?: Caution[]
}

/**
 * @param of only this database's, unless one is named
 * @throws DbbakError BACKUP_NOT_FOUND, BACKUP_NAME_AMBIGUOUS
 */
export function chooseBackups(
  everything: Catalog,
  choice: CopyChoice,
  place: string,
  of: Whose | undefined,
): Chosen {
  if ('name' in choice) return byName(everything, choice.name, place)
  const catalog = of === undefined ? everything : onlyOf(everything, of)
  if (of !== undefined && catalog.backups.length + catalog.problems.length === 0) return noneOf(of, place)
  const chosen = 'latest' in choice ? newest(catalog, choice.now, place) : several(catalog, choice)
  if (chosen.backups.length + chosen.broken.length > 0) return chosen
  if ('latest' in choice || choice.since === undefined)
    return {backups: [findBackup(catalog, {latest: true}, place)], broken: []} // says that there is none
  throw new DbbakError(
    'BACKUP_NOT_FOUND',
    `There is no backup at ${place} from ${choice.since.toISOString()} or later.`,
    {suggestions: [`See what there is: dbbak list --from ${shellWord(place)}`, 'Take one: dbbak backup']},
  )
}

function byName(catalog: Catalog, name: string, place: string): Chosen {
  try {
    return {backups: [findBackup(catalog, {name}, place)], broken: []}
  } catch (error) {
    const key = error instanceof DbbakError ? error.details?.key : undefined
    const broken = catalog.problems.filter((problem) => problem.key === key)
    if (broken.length === 0) throw error
    return {backups: [], broken}
  }
}

function newest(catalog: Catalog, now: Date, place: string): Chosen {
  if (!catalog.backups.some(({manifest}) => manifest.kind === 'backup'))
    return {backups: [], broken: brokenSinceNewest(catalog)}
  const {entry, cautions} = findWithCautions(catalog, {latest: true, now}, place)
  return {backups: [entry], broken: brokenSinceNewest(catalog, entry), cautions}
}

function several({backups, problems}: Catalog, {since, allKinds}: Extract<CopyChoice, {all: true}>): Chosen {
  const sinceMs = since?.getTime() ?? -Infinity
  return {
    backups: backups.filter(
      (entry) => snapshotMs(entry) >= sinceMs && (allKinds || entry.manifest.kind === 'backup'),
    ),
    // One whose name tells no time may be one that is meant.
    broken: problems.filter(({key}) => (timeInName(key) ?? Infinity) >= sinceMs),
  }
}
