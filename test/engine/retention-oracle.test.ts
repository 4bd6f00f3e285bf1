import {expect, test} from '@jest/globals'
import {planRetention, type Content, type RetentionBackup} from '../../src/engine/retention/plan.js'
import type {RetentionPolicy} from '../../src/engine/retention/policy.js'
import {
  backupAt,
  dayMs,
  hasFailed,
  hasPassed,
  isEmptied,
  policyOf,
  type Verified,
} from './retention-support.js'

/*
 * A second implementation of the rules, written from their words: for each backup by itself, how many others are
 * before it. Nothing of it is shared with the first: other calendar arithmetic, no sorting, no state.
 */

const isNewer = (one: RetentionBackup, than: RetentionBackup) =>
  one.snapshotMs > than.snapshotMs || (one.snapshotMs === than.snapshotMs && one.name > than.name)
/** A number that grows from one period of a zone to the next. */
function periodNumber(ms: number, zone: string, period: string): number {
  const [year, month, day] = new Date(ms).toLocaleDateString('sv-SE', {timeZone: zone}).split('-').map(Number)
  const date = Date.UTC(year, month - 1, day) / dayMs
  if (period === 'day') return date
  if (period === 'week') return Math.floor((date + 3) / 7) // 1970-01-01 was a Thursday
  return period === 'month' ? year * 12 + month : year
}

type IsGood = (one: RetentionBackup) => boolean

function oracle(all: RetentionBackup[], policy: RetentionPolicy, now: number): Set<string> {
  const kept = new Set<string>()
  const past = all.filter(({snapshotMs}) => snapshotMs <= now)
  for (const one of all) {
    if (one.snapshotMs > now) kept.add(one.name)
    else if (one.kind === 'safety' && now - one.snapshotMs < policy.safetyKeepDays * dayMs) kept.add(one.name)
  }
  const ordinary = past.filter(({kind}) => kind === 'backup')
  for (const series of new Set(ordinary.map((one) => one.series))) {
    const own = ordinary.filter((one) => one.series === series)
    const good = new Set(
      own.filter((one) => !hasFailed(one) && one.verification !== 'unreadable' && !isEmptied(one, own)),
    )
    const nets = [
      own,
      own.filter((one) => !hasFailed(one) && one.verification !== 'unreadable'),
      [...good],
      [...good].filter(hasPassed),
      own.filter(({content}) => content === 'rows'),
    ]
    for (const net of nets)
      if (net.length > 0) kept.add(net.reduce((best, one) => (isNewer(best, one) ? best : one)).name)
    for (const name of keptOfSeries(own, (one) => good.has(one), policy, now)) kept.add(name)
  }
  return kept
}

function keptOfSeries(
  ones: RetentionBackup[],
  isGood: IsGood,
  policy: RetentionPolicy,
  now: number,
): string[] {
  const good = ones.filter(isGood)
  const proven = good.filter(hasPassed)
  const isWithin = (limit: number, one: RetentionBackup, among: RetentionBackup[]) =>
    limit > 0 && among.filter((other) => isNewer(other, one)).length < limit
  const byPeriod = (['day', 'week', 'month', 'year'] as const).map((period) => {
    const limit = {
      day: policy.keepDaily,
      week: policy.keepWeekly,
      month: policy.keepMonthly,
      year: policy.keepYearly,
    }[period]
    const numbers = new Map(ones.map((one) => [one, periodNumber(one.snapshotMs, policy.timeZone, period)]))
    const byNumber = Map.groupBy(ones, (one) => numbers.get(one)!)
    const periodsOf = (some: RetentionBackup[]) => [...new Set(some.map((one) => numbers.get(one)!))]
    const [allPeriods, goodPeriods] = [periodsOf(ones), periodsOf(good)]
    return (one: RetentionBackup) => {
      if (limit === 0) return false
      const number = numbers.get(one)!
      const same = byNumber.get(number)!
      const candidates = same.some(isGood) ? same.filter(isGood) : same
      if (!candidates.includes(one) || candidates.some((other) => isNewer(other, one))) return false
      const before = isGood(one) ? goodPeriods : allPeriods
      return before.filter((other) => other > number).length < limit
    }
  })
  return ones
    .filter(
      (one) =>
        now - one.snapshotMs < policy.keepDays * dayMs ||
        isWithin(policy.keepLast, one, ones) ||
        (isGood(one) && isWithin(policy.keepLast, one, good)) ||
        byPeriod.some((isKept) => isKept(one)) ||
        (proven.includes(one) && isWithin(policy.keepVerified, one, proven)) ||
        one.verification === 'unreadable',
    )
    .map(({name}) => name)
}

/** Random numbers that are the same each time. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const now = Date.parse('2026-11-24T12:00:00Z')

function synthetic(count: number, seed: number): RetentionBackup[] {
  const next = random(seed)
  const results: Verified[] = [null, null, null, 'passed', 'failed', 'checksum', null, 'passed', 'unreadable']
  const contents: Content[] = ['rows', 'rows', 'rows', 'rows', 'tables', 'nothing', 'uncounted']
  return Array.from({length: count}, (_, index) =>
    backupAt({
      at: Math.floor((now - next() * 5 * 365.25 * dayMs + dayMs) / 60_000) * 60_000, // some at the same moment
      name: `shop_${index}`,
      kind: next() < 0.05 ? 'safety' : 'backup',
      verified: results[Math.floor(next() * results.length)],
      series: next() < 0.1 ? 'orders' : null,
      content: contents[Math.floor(next() * contents.length)],
    }),
  )
}

const policies: Partial<RetentionPolicy>[] = [
  {keepDays: 30, keepVerified: 1},
  {keepDaily: 7, keepWeekly: 4, keepMonthly: 12, keepYearly: 5, timeZone: 'Europe/Berlin'},
  {
    keepDays: 14,
    keepLast: 50,
    keepDaily: 400,
    keepWeekly: 200,
    keepMonthly: 80,
    keepYearly: 9,
    keepVerified: 300,
  },
  {keepDaily: 2000, keepVerified: 7, timeZone: 'America/St_Johns', safetyKeepDays: 400},
]

test('10,000 backups of five years are planned as the words of the rules say', () => {
  const backups = synthetic(10_000, 2026)
  for (const rules of policies) {
    const policy = policyOf(rules)
    const start = performance.now()
    const plan = planRetention(backups, policy, new Date(now))
    const tookMs = performance.now() - start
    const kept = plan.kept.map(({backup}) => backup.name).sort()
    process.stderr.write(`planned 10,000 backups in ${tookMs.toFixed(0)} ms: ${kept.length} kept\n`)
    expect(kept).toEqual([...oracle(backups, policy, now)].sort())
    expect(tookMs).toBeLessThan(5000)
  }
}, 300_000)

test('so are 300 destinations of few backups, each by a policy of its own', () => {
  for (let seed = 0; seed < 300; seed++) {
    const next = random(seed + 1)
    const number = (most: number) => Math.floor(next() * (most + 1))
    const backups = synthetic(number(40), seed)
    const policy = policyOf({
      keepDays: number(200),
      keepLast: 1 + number(4),
      keepDaily: number(10),
      keepWeekly: number(6),
      keepMonthly: number(6),
      keepYearly: number(4),
      keepVerified: number(3),
      timeZone: ['UTC', 'Asia/Kathmandu', 'Pacific/Apia'][number(2)],
    })
    const {kept} = planRetention(backups, policy, new Date(now))
    expect(kept.map(({backup}) => backup.name).sort()).toEqual([...oracle(backups, policy, now)].sort())
  }
})
