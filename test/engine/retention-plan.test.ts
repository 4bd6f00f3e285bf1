import {describe, expect, test} from '@jest/globals'
import {planRetention} from '../../src/engine/retention/plan.js'
import {periodsIn} from '../../src/engine/retention/periods.js'
import {defaultPolicy, type RetentionPolicy} from '../../src/engine/retention/policy.js'
import {backupAt, dayMs, policyOf, type SampleBackup} from './retention-support.js'

const now = new Date('2026-11-24T12:00:00Z')

function plan(samples: (SampleBackup | string)[], rules: Partial<RetentionPolicy>, at = now) {
  const backups = samples.map((sample) => backupAt(typeof sample === 'string' ? {at: sample} : sample))
  const {kept, removed} = planRetention(backups, policyOf(rules), at)
  const told = (planned: typeof kept) =>
    Object.fromEntries(planned.map(({backup, reasons}) => [backup.name.replace(/:00\.000Z$/, ''), reasons]))
  return {kept: told(kept), removed: told(removed)}
}

const always = 'the newest, which always stays'

describe('the rules', () => {
  test('a backup is kept while it is newer than keep-days, to the millisecond', () => {
    const edge = now.getTime() - 30 * dayMs
    const at = (ms: number, name: string) => ({at: ms, name})
    expect(
      plan([at(now.getTime(), 'now'), at(edge + 1, 'just newer'), at(edge, 'just older')], {keepDays: 30}),
    ).toEqual({
      kept: {now: [always, 'newer than 30 days'], 'just newer': ['newer than 30 days']},
      removed: {'just older': ['older than 30 days']},
    })
  })

  test('the newest stays however old it is, and only that', () => {
    expect(
      plan(
        ['2024-01-01T00:00', '2024-01-02T00:00'].map((at) => `${at}:00.000Z`),
        {keepDays: 30},
      ),
    ).toEqual({
      kept: {'2024-01-02T00:00': [always]},
      removed: {'2024-01-01T00:00': ['older than 30 days']},
    })
  })

  test('each rule says in words what it keeps and what it does not', () => {
    const days = [
      '2026-11-24T03:00',
      '2026-11-23T15:00',
      '2026-11-23T03:00',
      '2026-11-16T03:00',
      '2026-10-01T03:00',
    ]
    const {kept, removed} = plan(
      days.map((at) => ({
        at: `${at}:00.000Z`,
        verified: at === '2026-11-16T03:00' ? ('passed' as const) : null,
      })),
      {keepLast: 1, keepDaily: 2, keepWeekly: 1, keepMonthly: 2, keepYearly: 1, keepVerified: 3},
    )
    expect(kept).toEqual({
      '2026-11-24T03:00': [
        always,
        'the newest',
        'newest of 2026-11-24',
        'newest of 2026-W48',
        'newest of 2026-11',
        'newest of 2026',
      ],
      '2026-11-23T15:00': ['newest of 2026-11-23'],
      '2026-11-16T03:00': [
        'the newest that passed a restore test',
        'among the newest 3 that passed a restore test',
      ],
      '2026-10-01T03:00': ['newest of 2026-10'],
    })
    expect(removed).toEqual({
      '2026-11-23T03:00': [
        'not the newest',
        'not the newest of 2026-11-23',
        'not the newest of 2026-W48',
        'not the newest of 2026-11',
        'not the newest of 2026',
      ],
    })
  })

  test('the last days are the last that have backups: an outage of a month costs none of them', () => {
    const {kept} = plan(
      ['2026-11-24T03:00', '2026-10-20T03:00', '2026-10-19T03:00', '2026-10-18T03:00'].map(
        (at) => `${at}:00.000Z`,
      ),
      {keepDaily: 3},
    )
    expect(Object.keys(kept)).toEqual(['2026-11-24T03:00', '2026-10-20T03:00', '2026-10-19T03:00'])
  })

  test('only a restore test that passed counts for keep-verified, not a checksum or a failure', () => {
    const {kept} = plan(
      [
        {at: '2026-11-24T03:00:00.000Z'},
        {at: '2026-11-23T03:00:00.000Z', verified: 'failed'},
        {at: '2026-11-22T03:00:00.000Z', verified: 'checksum'},
        {at: '2026-11-21T03:00:00.000Z', verified: 'passed'},
        {at: '2026-11-20T03:00:00.000Z', verified: 'passed'},
      ],
      {keepLast: 1, keepVerified: 1},
    )
    expect(Object.keys(kept)).toEqual(['2026-11-24T03:00', '2026-11-21T03:00'])
  })

  test('safety backups have their own age, and take no place from backups', () => {
    const {kept, removed} = plan(
      [
        {at: '2026-11-24T03:00:00.000Z', kind: 'safety', name: 'fresh'},
        {at: '2026-11-10T03:00:00.000Z', kind: 'safety', name: 'old'},
        {at: '2026-11-09T03:00:00.000Z', name: 'backup'},
      ],
      {keepLast: 1},
    )
    expect(kept).toEqual({
      fresh: ['a safety backup newer than 7 days'],
      backup: [always, 'the newest'],
    })
    expect(removed).toEqual({old: ['a safety backup older than 7 days']})
  })
})

describe('a backup that is known to be broken', () => {
  test('does not take the place of a good one of the same day, nor among the last', () => {
    const {kept, removed} = plan(
      [
        {at: '2026-11-24T09:00:00.000Z', verified: 'failed'},
        {at: '2026-11-24T03:00:00.000Z'},
        {at: '2026-11-23T09:00:00.000Z', verified: 'failed'},
        {at: '2026-11-23T03:00:00.000Z'},
        {at: '2026-11-22T03:00:00.000Z', verified: 'failed'},
        {at: '2026-11-21T03:00:00.000Z'},
      ],
      {keepDaily: 3},
    )
    expect(kept).toEqual({
      '2026-11-24T09:00': [always],
      '2026-11-24T03:00': ['the newest that did not fail its verification', 'newest of 2026-11-24'],
      '2026-11-23T03:00': ['newest of 2026-11-23'],
      // Nothing else is left of that day, and it is one of the last three; it costs the 21st nothing.
      '2026-11-22T03:00': ['newest of 2026-11-22'],
      '2026-11-21T03:00': ['newest of 2026-11-21'],
    })
    expect(removed).toEqual({
      '2026-11-23T09:00': ['its verification failed', 'not the newest of 2026-11-23'],
    })
  })

  test('keep-last gives its places to others, and keeps it besides', () => {
    const {kept} = plan(
      [
        {at: '2026-11-24T03:00:00.000Z', verified: 'failed'},
        {at: '2026-11-23T03:00:00.000Z', verified: 'failed'},
        {at: '2026-11-22T03:00:00.000Z'},
        {at: '2026-11-21T03:00:00.000Z'},
        {at: '2026-11-20T03:00:00.000Z'},
      ],
      {keepLast: 2},
    )
    expect(Object.keys(kept)).toEqual([
      '2026-11-24T03:00',
      '2026-11-23T03:00',
      '2026-11-22T03:00',
      '2026-11-21T03:00',
    ])
    expect(kept['2026-11-21T03:00']).toEqual(['among the newest 2 good ones'])
  })
})

describe('a database that was emptied', () => {
  const days = Array.from({length: 60}, (_, day) => ({
    at: new Date(now.getTime() - day * dayMs).toISOString(),
    content: day < 40 ? ('nothing' as const) : ('rows' as const),
    verified: day === 10 || day === 50 ? ('passed' as const) : null,
    name: `${day} days old`,
  }))

  test('does not lose its last backups from before: the newest, and the newest that was restored', () => {
    const {kept} = plan(days, {keepDays: 30, keepVerified: 1})
    expect(Object.keys(kept)).toHaveLength(32)
    expect(kept['40 days old']).toEqual(['the newest that is not empty'])
    expect(kept['50 days old']).toEqual(['the newest that passed a restore test'])
  })

  test('nor the days, weeks and months of before, for none that are empty', () => {
    const {kept, removed} = plan(days, {keepDaily: 3})
    expect(Object.keys(kept)).toEqual([0, 1, 2, 40, 41, 42, 50].map((day) => `${day} days old`))
    expect(removed['39 days old'][0]).toBe('it is empty, and one before it is not')
  })

  test('and filled again goes on as before', () => {
    const {kept} = plan([{at: now.toISOString(), name: 'filled'}, ...days.slice(1)], {keepLast: 1})
    expect(Object.keys(kept)).toEqual(['filled', '50 days old'])
  })

  test('is none where there never was a row, nor where nobody counted them', () => {
    for (const content of ['tables', 'uncounted'] as const) {
      const {kept} = plan(
        days.map((day) => ({...day, verified: null, content})),
        {keepLast: 2},
      )
      expect(Object.keys(kept)).toEqual(['0 days old', '1 days old'])
    }
  })

  test('keeps the newest that holds rows also where all of those failed a verification', () => {
    const {kept} = plan(
      days.map((day) => ({...day, verified: day.content === 'rows' ? 'failed' : null})),
      {keepLast: 1},
    )
    expect(Object.keys(kept)).toEqual(['0 days old', '40 days old'])
  })
})

test('an hourly backup of one table does not push out those of the whole database', () => {
  const hours = Array.from({length: 24}, (_, hour) => ({
    at: `2026-11-24T${String(hour).padStart(2, '0')}:30:00.000Z`,
    series: 'orders',
  }))
  const {kept} = plan(
    [...hours, {at: '2026-11-24T01:00:00.000Z'}, {at: '2026-11-23T01:00:00.000Z'}],
    {keepLast: 2, keepDaily: 2},
    new Date('2026-11-25T00:00:00Z'),
  )
  expect(Object.keys(kept)).toEqual([
    '2026-11-24T23:30',
    '2026-11-24T22:30',
    '2026-11-24T01:00',
    '2026-11-23T01:00',
  ])
  expect(kept['2026-11-24T01:00'][0]).toBe('the newest of the whole database')
})

describe('clocks and calendars', () => {
  test('snapshots in the future are kept, and do not push out what is there', () => {
    const {kept, removed} = plan(
      ['2099-01-01T00:00', '2026-11-24T03:00', '2026-11-23T03:00'].map((at) => `${at}:00.000Z`),
      {keepLast: 1},
    )
    expect(kept).toEqual({
      '2099-01-01T00:00': ['its snapshot lies in the future: a clock is or was wrong'],
      '2026-11-24T03:00': [always, 'the newest'],
    })
    expect(Object.keys(removed)).toEqual(['2026-11-23T03:00'])
  })

  test('a clock that was set back to 1970 removes nothing', () => {
    const all = ['2026-11-24T03:00', '2024-11-23T03:00'].map((at) => `${at}:00.000Z`)
    expect(plan(all, {keepLast: 1, keepDays: 1}, new Date(0)).removed).toEqual({})
  })

  test('of two backups of the same moment one is the newest, whatever the order', () => {
    const twins = [
      {at: '2026-11-24T03:00:00.000Z', name: 'shop.dump'},
      {at: '2026-11-24T03:00:00.000Z', name: 'shop.sql'},
    ]
    for (const order of [twins, [...twins].reverse()])
      expect(Object.keys(plan(order, {keepLast: 1}).kept)).toEqual(['shop.sql'])
  })

  test('two backups of the same second are told apart', () => {
    const {kept} = plan(['2026-11-24T03:00:00.001Z', '2026-11-24T03:00:00.002Z'], {keepLast: 1})
    expect(Object.keys(kept)).toEqual(['2026-11-24T03:00:00.002Z'])
  })

  test.each([
    // The days on which clocks were changed in Berlin, of 23 and of 25 hours.
    ['2026-03-28T22:59:59Z', 'Europe/Berlin', '2026-03-28', '2026-W13', '2026-03', '2026'],
    ['2026-03-28T23:00:00Z', 'Europe/Berlin', '2026-03-29', '2026-W13', '2026-03', '2026'],
    ['2026-03-29T21:59:59Z', 'Europe/Berlin', '2026-03-29', '2026-W13', '2026-03', '2026'],
    ['2026-03-29T22:00:00Z', 'Europe/Berlin', '2026-03-30', '2026-W14', '2026-03', '2026'],
    ['2026-10-24T22:00:00Z', 'Europe/Berlin', '2026-10-25', '2026-W43', '2026-10', '2026'],
    ['2026-10-25T22:59:59Z', 'Europe/Berlin', '2026-10-25', '2026-W43', '2026-10', '2026'],
    ['2026-10-25T23:00:00Z', 'Europe/Berlin', '2026-10-26', '2026-W44', '2026-10', '2026'],
    // Leap days.
    ['2024-02-29T12:00:00Z', 'UTC', '2024-02-29', '2024-W09', '2024-02', '2024'],
    ['2024-03-01T00:00:00Z', 'UTC', '2024-03-01', '2024-W09', '2024-03', '2024'],
    ['2100-02-28T23:59:59Z', 'UTC', '2100-02-28', '2100-W08', '2100-02', '2100'],
    ['2100-03-01T00:00:00Z', 'UTC', '2100-03-01', '2100-W09', '2100-03', '2100'],
    // Weeks belong to the year of their Thursday.
    ['2020-12-31T12:00:00Z', 'UTC', '2020-12-31', '2020-W53', '2020-12', '2020'],
    ['2021-01-03T12:00:00Z', 'UTC', '2021-01-03', '2020-W53', '2021-01', '2021'],
    ['2021-01-04T12:00:00Z', 'UTC', '2021-01-04', '2021-W01', '2021-01', '2021'],
    ['2024-12-30T12:00:00Z', 'UTC', '2024-12-30', '2025-W01', '2024-12', '2024'],
    ['2027-01-01T12:00:00Z', 'UTC', '2027-01-01', '2026-W53', '2027-01', '2027'],
    // Half an hour, the far sides of the date line, and a day that Samoa left out.
    ['2026-11-23T18:29:59Z', 'Asia/Kolkata', '2026-11-23', '2026-W48', '2026-11', '2026'],
    ['2026-11-23T18:30:00Z', 'Asia/Kolkata', '2026-11-24', '2026-W48', '2026-11', '2026'],
    ['2026-12-31T10:00:00Z', 'Pacific/Kiritimati', '2027-01-01', '2026-W53', '2027-01', '2027'],
    ['2027-01-01T10:59:59Z', 'Pacific/Pago_Pago', '2026-12-31', '2026-W53', '2026-12', '2026'],
    ['2011-12-30T09:59:59Z', 'Pacific/Apia', '2011-12-29', '2011-W52', '2011-12', '2011'],
    ['2011-12-30T10:00:00Z', 'Pacific/Apia', '2011-12-31', '2011-W52', '2011-12', '2011'],
  ])('%s in %s is %s, %s, %s, %s', (time, zone, day, week, month, year) => {
    expect(periodsIn(zone)(Date.parse(time))).toEqual({day, week, month, year})
  })

  test('the hour that comes twice belongs to one day', () => {
    // 02:30 in Berlin, before and after clocks were set back.
    const {kept} = plan(['2026-10-25T00:30:00.000Z', '2026-10-25T01:30:00.000Z'], {
      keepDaily: 5,
      timeZone: 'Europe/Berlin',
    })
    expect(Object.keys(kept)).toEqual(['2026-10-25T01:30'])
  })

  test('the time zone decides what is a day', () => {
    const ones = ['2026-11-23T22:30:00.000Z', '2026-11-23T23:30:00.000Z']
    expect(Object.keys(plan(ones, {keepDaily: 5}).kept)).toEqual(['2026-11-23T23:30'])
    expect(Object.keys(plan(ones, {keepDaily: 5, timeZone: 'Europe/Berlin'}).kept)).toHaveLength(2)
  })
})

describe('a policy is refused', () => {
  const nothing = {keepDays: 0, keepVerified: 0}
  test.each<[string, Partial<RetentionPolicy>]>([
    ['with all rules zero', nothing],
    ['that keeps only what was verified', {...nothing, keepVerified: 5}],
    ['with a negative number', {keepLast: -1}],
    ['with part of a day', {keepDays: 1.5}],
    ['with no number', {keepDaily: NaN}],
    ['with infinitely many', {keepDays: Infinity}],
    ['that removes safety backups at once', {safetyKeepDays: 0}],
    ['in a time zone that does not exist', {timeZone: 'Mars/Olympus'}],
  ])('%s', (_, rules) => {
    const policy = {...defaultPolicy, ...rules}
    expect(() => planRetention([], policy, now)).toThrow(expect.objectContaining({code: 'OPTION_INVALID'}))
  })
})
