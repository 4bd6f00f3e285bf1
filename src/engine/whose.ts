import {snapshotMs, type Catalog, type CatalogEntry} from './catalog.js'
import type {Manifest} from './manifest.js'
import {prefixOf} from './naming.js'

/** Whose backups are meant: a database by its name, and by where it is, for several servers may have one of that name. */
export interface Whose {
  name: string
  host?: string | undefined
  port?: number | undefined
}

/** What a catalog holds of one database; and what is damaged or left over, unless its name tells that it is another's. */
export function onlyOf({backups, problems, unclaimed}: Catalog, whose: Whose): Catalog {
  const named = backups.filter(({manifest}) => manifest.database.name === whose.name)
  const own = ofOneServer(named, whose) ?? named
  const others = new Set(backups.filter((entry) => !own.includes(entry)).map(nameOf))
  for (const entry of own) others.delete(nameOf(entry))
  const isOwn = ({key}: {key: string}) => !others.has(prefixOf(key))
  return {backups: own, problems: problems.filter(isOwn), unclaimed: unclaimed.filter(isOwn)}
}

const nameOf = ({archive}: CatalogEntry): string => prefixOf(archive)

/**
 * The backups of one database among those of its name. Several servers may have a database of that name: where the
 * backups of one begin after the last of another it has moved, and all are its own; else the address tells which.
 * @param backups of one name, newest first
 * @returns undefined where nothing tells
 */
export function ofOneServer(
  backups: CatalogEntry[],
  at: Omit<Whose, 'name'> | undefined,
): CatalogEntry[] | undefined {
  const servers = Map.groupBy(backups, serverOf)
  if (servers.size < 2 || followOneAnother([...servers.values()])) return backups
  const isThere = ({manifest: {database}}: CatalogEntry) =>
    database.host === at?.host && database.port === at.port
  const there = new Set(backups.filter(isThere).map(serverOf))
  return there.size === 0 ? undefined : backups.filter((entry) => there.has(serverOf(entry)))
}

const serverOf = ({manifest: {database}}: CatalogEntry): string => databaseKey(database)

/**
 * The same text for the same database: one by its name and system identifier, wherever it lies. Where a server does not
 * tell that, its address has to do.
 */
export function databaseKey({name, systemIdentifier, host, port}: Manifest['database']): string {
  return JSON.stringify(systemIdentifier === null ? [name, null, host, port] : [name, systemIdentifier])
}

function followOneAnother(servers: CatalogEntry[][]): boolean {
  const spans = servers
    .map((entries) => ({first: snapshotMs(entries.at(-1)!), last: snapshotMs(entries[0]!)}))
    .sort((one, other) => one.first - other.first)
  return spans.every(({first}, index) => index === 0 || spans[index - 1]!.last < first)
}
