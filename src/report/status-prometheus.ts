import type {DatabaseStatus} from '../engine/status/status-of-database.js'
import type {StatusFinding} from '../engine/status/finding.js'

/** What the report is made of. */
export interface MetricsSource {
  healthy: boolean
  findings: StatusFinding[]
  databases: DatabaseStatus[]
  destinations: {destination: string; reachable: boolean}[]
  limits: {maxAgeSeconds: number; maxVerifiedAgeSeconds: number}
  at: string
}

interface Sample {
  labels: Record<string, string>
  value: number
}

interface Metric {
  name: string
  help: string
  samples: Sample[]
}

/** The state of the backups in Prometheus' text format, for the node exporter's textfile collector. */
export function prometheusText(source: MetricsSource): string {
  return metricsOf(source)
    .filter(({samples}) => samples.length > 0)
    .map(textOf)
    .join('')
}

function metricsOf(source: MetricsSource): Metric[] {
  return [...databaseMetrics(source), ...overallMetrics(source)]
}

function databaseMetrics({databases}: MetricsSource): Metric[] {
  const perDatabase = (name: string, help: string, measure: (one: DatabaseStatus) => number | null) => ({
    name: `dbbak_${name}`,
    help,
    samples: databases.flatMap((one) => {
      const value = measure(one)
      return value === null ? [] : [{labels: labelsOf(one), value}]
    }),
  })
  return [
    perDatabase(
      'backup_last_success_timestamp_seconds',
      'When the snapshot of the newest complete backup was taken.',
      ({newest}) => newest && secondsOf(newest.snapshotAt),
    ),
    perDatabase(
      'backup_last_verified_timestamp_seconds',
      'When the snapshot of the newest backup that passed a restore test was taken.',
      ({newestVerified}) => newestVerified && secondsOf(newestVerified.snapshotAt),
    ),
    perDatabase(
      'backup_last_size_bytes',
      'Size of the newest complete backup.',
      ({newest}) => newest && newest.bytes,
    ),
    perDatabase(
      'backup_last_rows',
      'Rows in the newest complete backup.',
      ({newest}) => newest && newest.rows,
    ),
    perDatabase('backups', 'Complete backups that there are.', ({count}) => count),
    perDatabase('backups_size_bytes', 'Size of all complete backups.', ({totalBytes}) => totalBytes),
    perDatabase(
      'backup_age_limit_seconds',
      'How old the newest backup of this database may be.',
      ({limits}) => limits.maxAgeSeconds,
    ),
    perDatabase(
      'backup_verified_age_limit_seconds',
      'How old the newest backup of this database that passed a restore test may be.',
      ({limits}) => limits.maxVerifiedAgeSeconds,
    ),
  ]
}

function overallMetrics({findings, destinations, limits, healthy, at}: MetricsSource): Metric[] {
  const single = (name: string, help: string, value: number): Metric => ({
    name: `dbbak_${name}`,
    help,
    samples: [{labels: {}, value}],
  })
  return [
    {
      name: 'dbbak_destination_up',
      help: 'Whether the destination could be read (1) or not (0).',
      samples: destinations.map(({destination, reachable}) => ({
        labels: {destination},
        value: Number(reachable),
      })),
    },
    single('backup_max_age_seconds', 'How old the newest backup may be.', limits.maxAgeSeconds),
    single(
      'backup_max_verified_age_seconds',
      'How old the newest backup that passed a restore test may be.',
      limits.maxVerifiedAgeSeconds,
    ),
    single('status_healthy', 'Whether the backups are healthy (1) or not (0).', Number(healthy)),
    {
      name: 'dbbak_status_findings',
      help: 'Findings by severity.',
      samples: ['error', 'warning', 'info'].map((severity) => ({
        labels: {severity},
        value: findings.filter((finding) => finding.severity === severity).length,
      })),
    },
    single('status_timestamp_seconds', 'When the backups were looked at.', secondsOf(at)),
  ]
}

/**
 * The server too: two may have databases of one name, and no series may be there twice. A server that does not tell its
 * system identifier is known by its address.
 */
const labelsOf = ({
  name,
  destination,
  systemIdentifier,
  host,
  port,
}: DatabaseStatus): Record<string, string> => ({
  database: name,
  destination,
  system_identifier: systemIdentifier ?? '',
  server: systemIdentifier === null && host !== null ? `${host}:${port}` : '',
})

const secondsOf = (time: string): number => Date.parse(time) / 1000

function textOf({name, help, samples}: Metric): string {
  const lines = samples.map(({labels, value}) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`)
    return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}\n`
  })
  return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} gauge\n${lines.join('')}`
}

const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')

const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"')
