import {clockToleranceMs} from '../support/clock.js'
import {formatCountOf} from '../support/figures.js'
import {snapshotMs, type CatalogEntry} from './catalog.js'
import {isPart, selectionText, seriesKey} from './series.js'
import {databaseKey} from './whose.js'

/** Something that whoever asks for the newest backup should know of it, or of one that was passed over. */
export interface Caution {
  code: 'PARTIAL_BACKUP' | 'BACKUP_IN_FUTURE' | 'EMPTY_BACKUP'
  message: string
}

/**
 * The backup that is meant by the newest: one of the whole database before any of a part, and of these one from the past
 * before any whose time is yet to come, which a wrong clock took.
 * @param backups newest first
 * @param now without it none is from the future
 */
export function newestOf(backups: CatalogEntry[], now: Date | undefined): CatalogEntry | undefined {
  const rank = (entry: CatalogEntry) => (isPart(entry.manifest) ? 2 : 0) + (isFromFuture(entry, now) ? 1 : 0)
  const best = Math.min(...backups.map(rank))
  return backups.find((entry) => rank(entry) === best)
}

const isFromFuture = (entry: CatalogEntry, now: Date | undefined): boolean =>
  now !== undefined && snapshotMs(entry) > now.getTime() + clockToleranceMs

/** What is to be said of a choice. @param backups among which it was chosen, newest first */
export function cautionsOf(chosen: CatalogEntry, backups: CatalogEntry[], now: Date | undefined): Caution[] {
  const passedOver = backups
    .slice(0, backups.indexOf(chosen))
    .filter(({manifest}) => manifest.database.name === chosen.manifest.database.name)
  const [future] = passedOver.filter((entry) => isFromFuture(entry, now))
  const [part] = passedOver.filter((entry) => isPart(entry.manifest) && entry !== future)
  const {id} = chosen.manifest
  return [
    ...(isFromFuture(chosen, now)
      ? [inFuture(`${id} is from the future, and there is no other to take: a clock is or was wrong.`)]
      : []),
    ...(isPart(chosen.manifest)
      ? [partial(`${holds(chosen)}; there is no backup of the whole database.`)]
      : []),
    ...(future
      ? [inFuture(`${id} is taken; ${future.manifest.id} is from the future: a clock is or was wrong.`)]
      : []),
    ...(part ? [partial(`${id} is taken; ${holds(part)}, and is newer: its name takes it.`)] : []),
  ]
}

const inFuture = (message: string): Caution => ({code: 'BACKUP_IN_FUTURE', message})
const partial = (message: string): Caution => ({code: 'PARTIAL_BACKUP', message})
const holds = ({manifest}: CatalogEntry): string => `${manifest.id} holds ${selectionText(manifest)}`

/**
 * What a backup lacks that others of its database hold, for whoever replaces something by it.
 * @param backups newest first
 */
export function lacksOf(chosen: CatalogEntry, backups: CatalogEntry[]): Caution[] {
  const {manifest} = chosen
  const same = backups.filter(
    (entry) =>
      entry.manifest.kind === 'backup' &&
      databaseKey(entry.manifest.database) === databaseKey(manifest.database),
  )
  const [complete] = same.filter((entry) => seriesKey(entry.manifest) === null)
  const [full] = same.filter(
    (entry) =>
      seriesKey(entry.manifest) === seriesKey(manifest) &&
      snapshotMs(entry) < snapshotMs(chosen) &&
      entry.manifest.content.rowCount > 0,
  )
  const {level, rowCount, largeObjects} = manifest.content
  const isEmpty = level !== 'none' && rowCount + largeObjects === 0
  return [
    ...(seriesKey(manifest) === null
      ? []
      : [
          partial(
            `${holds(chosen)}; ${complete ? `the newest of everything is ${complete.manifest.id}` : 'there is none of everything'}.`,
          ),
        ]),
    ...(isEmpty && full ? [emptied(chosen, full)] : []),
  ]
}

function emptied({manifest: {id}}: CatalogEntry, {manifest: full}: CatalogEntry): Caution {
  const rows = formatCountOf(full.content.rowCount, 'row')
  return {code: 'EMPTY_BACKUP', message: `${id} holds no rows; ${full.id} held ${rows}.`}
}
