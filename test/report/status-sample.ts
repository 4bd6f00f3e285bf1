import type {HistoryEntry} from '../../src/engine/status/status-of-database.js'
import type {StatusResult} from '../../src/library/status.js'

export const dayMs = 86_400_000
export const sampleNow = Date.parse('2026-03-17T08:00:00.000Z')

/** So many daily backups of a growing database, most of them verified on Sundays. */
export function sampleHistory(count: number, now = sampleNow): HistoryEntry[] {
  return Array.from({length: count}, (_, index) => {
    const at = now - (count - 1 - index) * dayMs - 6 * 3_600_000
    const wobble = 1 + 0.02 * Math.sin(index * 1.7) + 0.01 * Math.sin(index * 0.31)
    const isSunday = new Date(at).getUTCDay() === 0
    const verdict = index % 47 === 33 ? 'failed' : 'passed'
    const snapshotAt = new Date(at).toISOString()
    const level: 'archive' | 'restore' = index % 5 === 4 ? 'archive' : 'restore'
    const isAsked = isSunday || verdict === 'failed' || index === count - 1
    return {
      id: `shop_${snapshotAt.replace(/[:.]/g, '-')}`,
      snapshotAt,
      bytes: Math.round(42_000_000 * (1 + index * 0.002) * wobble),
      rows: 1_200_000 + index * 3100,
      verification: isAsked ? {level, verdict, at: new Date(at + 600_000).toISOString()} : null,
      isVerified: isAsked && verdict === 'passed' && level === 'restore',
      isPart: false,
    } satisfies HistoryEntry
  })
}

/** A state of things as `status` gives it, with so many backups of one database. */
export function sampleStatus(count: number, changes: Partial<StatusResult> = {}): StatusResult {
  const history = sampleHistory(count)
  const facts = (entry: HistoryEntry) => ({
    id: entry.id,
    name: `${entry.id}.dump.zst`,
    snapshotAt: entry.snapshotAt,
    ageSeconds: (sampleNow - Date.parse(entry.snapshotAt)) / 1000,
    bytes: entry.bytes,
    rows: entry.rows,
  })
  const last = history.at(-1)
  const verified = history.findLast(
    ({verification}) => verification?.verdict === 'passed' && verification.level === 'restore',
  )
  const newest = last ? facts(last) : null
  const newestVerified = verified ? {...facts(verified), verifiedAt: verified.verification!.at} : null
  const place = {database: 'shop', destination: 's3://backups/shop'}
  return {
    healthy: true,
    findings: [],
    newest: newest && {...newest, ...place},
    newestVerified: newestVerified && {...newestVerified, ...place},
    databases: [
      {
        name: 'shop',
        databaseName: 'shop',
        server: null,
        systemIdentifier: '7301234567890123456',
        host: 'db.internal',
        port: 5432,
        limits: {maxAgeSeconds: 26 * 3600, maxVerifiedAgeSeconds: 8 * 86_400, maxSizeChangePercent: 50},
        destination: place.destination,
        newest,
        newestVerified,
        count,
        totalBytes: history.reduce((sum, {bytes}) => sum + bytes, 0),
        history,
        failedRuns:
          count > 20
            ? [
                {at: new Date(sampleNow - 9 * dayMs).toISOString(), code: 'ARCHIVE_MISSING'},
                {at: new Date(sampleNow - 16 * dayMs).toISOString(), code: 'LEFTOVERS'},
              ]
            : [],
        hasMoved: false,
      },
    ],
    destinations: [{destination: place.destination, reachable: true}],
    limits: {maxAgeSeconds: 26 * 3600, maxVerifiedAgeSeconds: 8 * 86_400, maxSizeChangePercent: 50},
    at: new Date(sampleNow).toISOString(),
    ...changes,
  }
}

/** One of each severity, with names as they are and as somebody could make them. */
export const sampleFindings: StatusResult['findings'] = [
  {
    code: 'BACKUP_TOO_OLD',
    severity: 'error',
    message: 'The newest backup is 3 d old; it should be at most 26 h.',
    database: 'shop',
    destination: 's3://backups/shop',
    suggestion: 'See why the schedule did not run, and take one now: dbbak backup --to s3://backups/shop',
  },
  {
    code: 'TABLE_VANISHED',
    severity: 'error',
    message: 'In shop_2026-03-17T02-00-00-000Z 1 table is no longer there: public.orders (1,234,567 rows).',
    database: 'shop',
    suggestion: 'Look at what it holds: dbbak list --from s3://backups/shop --limit 5',
  },
  {
    code: 'RUNS_MISSED',
    severity: 'warning',
    message:
      '1 gap in the backups of the last 30 days: 2 d from 2026-03-05 02:00 UTC to 2026-03-07 02:00 UTC.',
    database: 'shop',
    destination: 's3://backups/shop',
    suggestion: "See the schedule's own log of that time: journalctl, cron's mail, or the CI's runs",
  },
  {
    code: 'LEFTOVERS',
    severity: 'info',
    message:
      '1 file (12.4 MB) of runs that failed or go on just now: shop_2026-03-17T07-58-00-000Z.dump.zst.part.',
    destination: 's3://backups/shop',
    suggestion: 'See them: dbbak list --incomplete --from s3://backups/shop',
  },
]

export const sampleDrills = [
  {
    at: '2026-03-01T09:00:00.000Z',
    database: 'shop',
    rtoSeconds: 742,
    rpoSeconds: 25_200,
    targets: {rtoSeconds: 1800, rpoSeconds: 86_400},
    met: true,
  },
  {
    at: '2026-02-01T09:00:00.000Z',
    rtoSeconds: 2130,
    rpoSeconds: 25_200,
    targets: {rtoSeconds: 1800},
    met: false,
  },
]
