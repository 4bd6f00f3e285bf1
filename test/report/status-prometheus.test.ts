import {describe, expect, test} from '@jest/globals'
import {prometheusText} from '../../src/report/status-prometheus.js'
import {parsePrometheus} from './prometheus-parser.js'
import {sampleFindings, sampleNow, sampleStatus} from './status-sample.js'

const read = (status = sampleStatus(30)) => parsePrometheus(prometheusText(status))
const valuesOf = (metrics: ReturnType<typeof read>, name: string) =>
  metrics.find((metric) => metric.name === name)?.samples

describe('the metrics of status', () => {
  test('are valid, and named after the conventions', () => {
    const metrics = read()
    for (const {name, help, type} of metrics) {
      expect(name).toMatch(/^dbbak_[a-z_]+$/)
      expect(name).not.toMatch(/_(ms|minutes|hours|days|kb|mb|total|count)$/)
      expect({type, help}).toEqual({type: 'gauge', help: expect.stringMatching(/^[A-Z].*\.$/)})
    }
  })

  test('tell of every database what there is', () => {
    const status = sampleStatus(30)
    const labels = {
      database: 'shop',
      destination: 's3://backups/shop',
      system_identifier: '7301234567890123456',
      server: '',
    }
    const metrics = read(status)
    const {newest, newestVerified, totalBytes} = status.databases[0]
    const expected = {
      dbbak_backup_last_success_timestamp_seconds: Date.parse(newest!.snapshotAt) / 1000,
      dbbak_backup_last_verified_timestamp_seconds: Date.parse(newestVerified!.snapshotAt) / 1000,
      dbbak_backup_last_size_bytes: newest!.bytes,
      dbbak_backup_last_rows: newest!.rows,
      dbbak_backups: 30,
      dbbak_backups_size_bytes: totalBytes,
    }
    for (const [name, value] of Object.entries(expected))
      expect({name, samples: valuesOf(metrics, name)}).toEqual({name, samples: [{labels, value}]})
    expect(valuesOf(metrics, 'dbbak_status_healthy')).toEqual([{labels: {}, value: 1}])
    expect(valuesOf(metrics, 'dbbak_status_timestamp_seconds')).toEqual([
      {labels: {}, value: sampleNow / 1000},
    ])
    expect(valuesOf(metrics, 'dbbak_backup_max_age_seconds')).toEqual([{labels: {}, value: 93_600}])
  })

  test('count the findings of each severity, those that there are none of too', () => {
    const metrics = read(sampleStatus(30, {healthy: false, findings: sampleFindings.slice(0, 3)}))
    expect(valuesOf(metrics, 'dbbak_status_findings')).toEqual([
      {labels: {severity: 'error'}, value: 2},
      {labels: {severity: 'warning'}, value: 1},
      {labels: {severity: 'info'}, value: 0},
    ])
    expect(valuesOf(metrics, 'dbbak_status_healthy')).toEqual([{labels: {}, value: 0}])
  })

  test('keep any name whole', () => {
    const name = 'a "quoted" \\ back\\nslash\nand a line, {braces} = <script>é'
    const status = sampleStatus(2)
    const metrics = read({...status, databases: [{...status.databases[0], name, destination: name}]})
    expect(valuesOf(metrics, 'dbbak_backups')?.[0].labels).toMatchObject({database: name, destination: name})
  })

  test('leave out what there is not: no verified backup, no backup, no rows', () => {
    const status = sampleStatus(2)
    const [one] = status.databases
    const none = {...one, name: 'none', newest: null, newestVerified: null, count: 0, totalBytes: 0}
    const uncounted = {...one, name: 'uncounted', newest: {...one.newest!, rows: null}}
    const metrics = read({...status, databases: [none, uncounted]})
    const databases = (metric: string) => valuesOf(metrics, metric)?.map(({labels}) => labels.database)
    expect(databases('dbbak_backup_last_success_timestamp_seconds')).toEqual(['uncounted'])
    expect(databases('dbbak_backup_last_rows')).toBeUndefined()
    expect(databases('dbbak_backups')).toEqual(['none', 'uncounted'])
  })

  test('tell servers’ databases of one name apart, and none is dropped because it may have moved', () => {
    const status = sampleStatus(2)
    const unknown = {...status.databases[0], systemIdentifier: null, hasMoved: true}
    const databases = [...status.databases, unknown, {...unknown, host: 'db2.internal'}]
    const samples = valuesOf(read({...status, databases}), 'dbbak_backups')
    expect(samples?.map(({labels}) => labels.server)).toEqual(['', 'db.internal:5432', 'db2.internal:5432'])
  })

  test('tell which destinations cannot be read', () => {
    const destinations = [
      {destination: '/mnt/a', reachable: true},
      {destination: 's3://b', reachable: false},
    ]
    expect(valuesOf(read(sampleStatus(2, {destinations})), 'dbbak_destination_up')).toEqual([
      {labels: {destination: '/mnt/a'}, value: 1},
      {labels: {destination: 's3://b'}, value: 0},
    ])
  })
})

describe('the parser that the tests rely on', () => {
  const head = '# HELP a A.\n# TYPE a gauge\n'
  test.each([
    ['a last line without an end', `${head}a 1`],
    ['a series twice', `${head}a 1\na 2\n`],
    ['a series twice, with its labels in another order', `${head}a{x="1",y="2"} 1\na{y="2",x="1"} 2\n`],
    ['samples before their type', 'a 1\n'],
    ['samples apart', `${head}a{x="1"} 1\n# HELP b B.\n# TYPE b gauge\nb 1\na{x="2"} 1\n`],
    ['a name with a dash', '# HELP a-b A.\n# TYPE a-b gauge\na-b 1\n'],
    ['a label without quotes', `${head}a{x=1} 1\n`],
    ['an escape that there is not', `${head}a{x="\\t"} 1\n`],
    ['a quote that is not escaped', `${head}a{x="1"2"} 1\n`],
    ['no value', `${head}a{x="1"}\n`],
    ['a word for a value', `${head}a null\n`],
    ['an unknown type', '# HELP a A.\n# TYPE a number\na 1\n'],
    ['an empty line', `${head}\na 1\n`],
  ])('refuses %s', (_, text) => {
    expect(() => parsePrometheus(text)).toThrow()
  })
})
