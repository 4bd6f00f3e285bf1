import type {Notice} from '../../src/notify/notice.js'

export const sampleNotice = (changes: Partial<Notice> = {}): Notice => ({
  id: '0b8f4e0a-6f0e-4c58-9a2d-6a4c6f1f8f10',
  runId: '5f3b3f9e-8d5b-4a53-9a1b-2b6f7d1f0c11',
  event: 'backup',
  outcome: 'success',
  at: '2025-01-15T14:30:00.000Z',
  subject: 'db.internal/shop',
  database: {host: 'db.internal', name: 'shop'},
  destinations: ['s3://backups/shop'],
  machine: 'backup-1',
  runUrl: undefined,
  durationMs: 252_000,
  facts: [
    {label: 'Backup', value: 'shop_2025-01-15T14-30-00-000Z'},
    {label: 'Rows', value: '1,234'},
  ],
  figures: {bytes: 5_000_000, rows: 1234},
  ...changes,
})

export const sampleFailure = (changes: Partial<Notice> = {}): Notice =>
  sampleNotice({
    outcome: 'failure',
    facts: [],
    figures: {},
    error: {
      code: 'SERVER_UNREACHABLE',
      message: 'The server db.internal:5432 cannot be reached.',
      suggestions: ['See what is wrong: dbbak doctor', 'Is the server up?'],
      exitCode: 4,
    },
    ...changes,
  })

/** A failure whose texts are as bad as they can be: hostile, and far too long. */
export const hostileFailure = (text: string): Notice =>
  sampleFailure({
    database: {host: text, name: text},
    destinations: Array.from({length: 40}, () => text),
    machine: text,
    facts: Array.from({length: 40}, () => ({label: 'Backup', value: text})),
    runUrl: 'https://ci.example.com/runs/1?a=1&b=<2>|3',
    error: {
      code: 'DUMP_FAILED',
      message: text,
      suggestions: Array.from({length: 40}, () => text),
      exitCode: 4,
    },
  })
