import {describe, expect, test} from '@jest/globals'
import fc from 'fast-check'
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

const now = new Date('2026-11-24T12:00:00Z')
/** Those that may take a place from others. */
const goodOf = (all: RetentionBackup[]) =>
  all.filter((one) => !hasFailed(one) && one.verification !== 'unreadable' && !isEmptied(one, all))
/** What passed a restore test has a place of its own. */
const untested = (one: RetentionBackup) => (hasPassed(one) ? {...one, verification: null} : one)
const verified = fc.constantFrom<Verified>(null, null, 'passed', 'failed', 'checksum', 'unreadable')
const contents = fc.constantFrom<Content>('rows', 'rows', 'rows', 'tables', 'nothing', 'uncounted')
const serieses = fc.constantFrom(null, null, null, 'orders', 'all but the logs')

/** Some in the same hour, some in the same millisecond, some years ago, a few in the future. */
const ages = fc.oneof(
  fc.integer({min: 0, max: 3 * 24}).map((hours) => hours * 3_600_000),
  fc.integer({min: 0, max: 400}).map((days) => days * dayMs),
  fc.integer({min: -2 * dayMs, max: 1500 * dayMs}),
)
const samples = fc.record({
  age: ages,
  kind: fc.constantFrom('backup' as const, 'backup' as const, 'backup' as const, 'safety' as const),
  verified,
  series: serieses,
  content: contents,
})
const backups = fc
  .array(samples, {maxLength: 60})
  .map((all) =>
    all.map(({age, ...one}, index) => backupAt({...one, at: now.getTime() - age, name: `b${index}`})),
  )
const count = fc.nat({max: 6})
const rules = fc
  .record({
    keepDays: fc.nat({max: 60}),
    keepLast: count,
    keepDaily: count,
    keepWeekly: count,
    keepMonthly: count,
    keepYearly: count,
    keepVerified: count,
    safetyKeepDays: fc.integer({min: 1, max: 20}),
    timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns', 'Pacific/Kiritimati'),
  })
  .filter((r) => r.keepDays + r.keepLast + r.keepDaily + r.keepWeekly + r.keepMonthly + r.keepYearly > 0)
const counts = [
  'keepDays',
  'keepLast',
  'keepDaily',
  'keepWeekly',
  'keepMonthly',
  'keepYearly',
  'keepVerified',
  'safetyKeepDays',
] as const

const holds = <T>(property: fc.IProperty<T>) => fc.assert(property, {numRuns: 500})

const keptOf = (all: RetentionBackup[], policy: RetentionPolicy) =>
  new Set(planRetention(all, policy, now).kept.map(({backup}) => backup.name))

describe('whatever the backups and the policy', () => {
  test('no series loses its newest, that which did not fail, which is not empty, or which was restored', () => {
    holds(
      fc.property(backups, rules, (all, policy) => {
        const kept = keptOf(all, policy)
        const ordinary = all.filter(({kind}) => kind === 'backup')
        for (const series of Map.groupBy(ordinary, (one) => one.series).values()) {
          const past = series.filter(({snapshotMs}) => snapshotMs <= now.getTime())
          const good = goodOf(past)
          const sound = past.filter((one) => !hasFailed(one) && one.verification !== 'unreadable')
          const full = past.filter(({content}) => content === 'rows')
          for (const some of [past, sound, good, good.filter(hasPassed), full]) {
            const newest = Math.max(...some.map(({snapshotMs}) => snapshotMs))
            if (some.length > 0)
              expect(some.some(({name, snapshotMs}) => snapshotMs === newest && kept.has(name))).toBe(true)
          }
        }
      }),
    )
  })

  test('what one series loses depends on no other', () => {
    holds(
      fc.property(backups, rules, (all, policy) => {
        const together = [...keptOf(all, policy)].sort()
        const apart = [...Map.groupBy(all, ({series}) => series).values()].flatMap((some) => [
          ...keptOf(some, policy),
        ])
        expect(apart.sort()).toEqual(together)
      }),
    )
  })

  test('every backup is either kept or removed, once, with a reason in words', () => {
    holds(
      fc.property(backups, rules, (all, policy) => {
        const {kept, removed} = planRetention(all, policy, now)
        const names = [...kept, ...removed].map(({backup}) => backup.name).sort()
        expect(names).toEqual(all.map(({name}) => name).sort())
        for (const {reasons} of [...kept, ...removed]) {
          expect(reasons.length).toBeGreaterThan(0)
          for (const reason of reasons) expect(reason).toMatch(/^[a-z].*[a-z0-9]$/)
          expect(new Set(reasons).size).toBe(reasons.length)
        }
      }),
    )
  })

  test('the same backups in any order give the same plan', () => {
    const orders = backups.chain((all) =>
      fc.tuple(fc.constant(all), fc.shuffledSubarray(all, {minLength: all.length, maxLength: all.length})),
    )
    holds(
      fc.property(orders, rules, ([all, shuffled], policy) => {
        expect(planRetention(shuffled, policy, now)).toEqual(planRetention(all, policy, now))
      }),
    )
  })

  test('planning again over what was kept removes nothing', () => {
    holds(
      fc.property(backups, rules, (all, policy) => {
        const kept = planRetention(all, policy, now).kept.map(({backup}) => backup)
        expect(planRetention(kept, policy, now).removed).toEqual([])
      }),
    )
  })

  test('a rule that asks for more never keeps less', () => {
    holds(
      fc.property(
        backups,
        rules,
        fc.constantFrom(...counts),
        fc.integer({min: 1, max: 9}),
        (all, policy, rule, by) => {
          const more = keptOf(all, {...policy, [rule]: policy[rule] + by})
          for (const name of keptOf(all, policy)) expect(more).toContain(name)
        },
      ),
    )
  })

  test('a safety backup changes nothing for backups, nor the other way round', () => {
    holds(
      fc.property(backups, rules, (all, policy) => {
        const kept = [...keptOf(all, policy)].sort()
        const apart = (['backup', 'safety'] as const).flatMap((kind) => [
          ...keptOf(
            all.filter((one) => one.kind === kind),
            policy,
          ),
        ])
        expect(kept).toEqual(apart.sort())
      }),
    )
  })

  test('whether a good backup is kept does not depend on those that are broken or empty', () => {
    holds(
      fc.property(backups, rules, (all, policy) => {
        const good = goodOf(all)
        const kept = keptOf(all, policy)
        expect(
          good
            .filter(({name}) => kept.has(name))
            .map(({name}) => name)
            .sort(),
        ).toEqual([...keptOf(good, policy)].sort())
      }),
    )
  })
})

test('a verification result that is damaged costs no backup that holds rows, whatever it said', () => {
  const truths = fc.array(fc.constantFrom<Verified>(null, 'passed', 'failed', 'checksum'), {
    minLength: 60,
    maxLength: 60,
  })
  holds(
    fc.property(backups, truths, rules, (all, results, policy) => {
      const before = all.map((one, index) =>
        one.verification === 'unreadable'
          ? {...one, verification: backupAt({at: 0, verified: results[index]}).verification}
          : one,
      )
      const after = keptOf(all, policy)
      const full = before.filter(({content}) => content === 'rows').map(({name}) => name)
      for (const name of keptOf(before, policy)) if (full.includes(name)) expect(after).toContain(name)
    }),
  )
})

/**
 * What must hold when a backup comes that is newer than all others. A rule that counts (last, days, weeks, months,
 * years, verified) is a window that slides: it may let go of the one at its far end, or of the one whose period's
 * newest the new backup has become. So:
 *
 * - what keep-days keeps stays, and what another series has stays;
 * - each window lets go of one at most; the newest itself is one more, and so is the newest that was restored;
 * - if the new backup lies in periods that had one, their windows do not move: only that period's own newest may go;
 * - without a restore test that passed, it lets go of nothing that keep-verified keeps;
 * - if it failed its verification, or is empty while others are not, no good backup goes at all.
 */
describe('a newer backup', () => {
  const newer = fc.record({verified, series: serieses, content: contents})
  const isGood = (one: RetentionBackup, all: RetentionBackup[]) => goodOf(all).includes(one)
  const withNewer = fc.tuple(backups, newer).map(([some, {verified: result, ...more}]) => {
    const all = some.filter(({snapshotMs, kind}) => snapshotMs < now.getTime() && kind === 'backup')
    return {all, added: backupAt({at: now.getTime(), name: 'new', verified: result, ...more})}
  })
  const lostBy = (all: RetentionBackup[], added: RetentionBackup, policy: RetentionPolicy) => {
    const after = keptOf([...all, added], policy)
    return all.filter(({name}) => keptOf(all, policy).has(name) && !after.has(name))
  }

  test('never makes one vanish that is young enough, or good while the new one is broken', () => {
    holds(
      fc.property(withNewer, rules, ({all, added}, policy) => {
        for (const lost of lostBy(all, added, policy)) {
          expect(now.getTime() - lost.snapshotMs).toBeGreaterThanOrEqual(policy.keepDays * dayMs)
          if (!isGood(added, [...all, added])) expect(isGood(lost, all)).toBe(false)
        }
      }),
    )
  })

  test('pushes at most one good backup out of each window that slides', () => {
    holds(
      fc.property(withNewer, rules, ({all, added}, policy) => {
        const {keepLast, keepDaily, keepWeekly, keepMonthly, keepYearly, keepVerified} = policy
        const windows = [keepLast, keepDaily, keepWeekly, keepMonthly, keepYearly, keepVerified].filter(
          (n) => n > 0,
        )
        const lost = lostBy(all, added, policy).filter((one) => isGood(one, all))
        // Besides the windows: what was the newest, and what was the newest that passed a restore test.
        expect(lost.length).toBeLessThanOrEqual(windows.length + 2)
        for (const {series} of lost) expect(series).toBe(added.series)
      }),
    )
  })

  test.each(['keepDaily', 'keepWeekly', 'keepMonthly', 'keepYearly'] as const)(
    'of a period that had one moves no window of %s: only the newest of that period may go',
    (rule) => {
      holds(
        fc.property(withNewer, fc.integer({min: 1, max: 6}), ({all, added}, n) => {
          const earlier = backupAt({at: now.getTime() - 1, name: 'a moment before', series: added.series})
          // Of two of the very same moment either may count as the newest.
          const older = all.filter(({snapshotMs}) => snapshotMs < earlier.snapshotMs).map(untested)
          const lost = lostBy([...older, earlier], untested(added), policyOf({[rule]: n})).filter((one) =>
            isGood(one, [...older, earlier]),
          )
          const names = lost.filter(({series}) => series === added.series).map(({name}) => name)
          expect([[], ['a moment before']]).toContainEqual(names)
        }),
      )
    },
  )

  test('without a restore test that passed takes no place of keep-verified', () => {
    holds(
      fc.property(withNewer, fc.integer({min: 1, max: 6}), ({all, added}, n) => {
        const policy = policyOf({keepVerified: n, keepLast: 1})
        const passed = goodOf(all).filter(hasPassed)
        const before = keptOf(all, policy)
        const after = keptOf([...all, {...added, verification: null}], policy)
        const held = passed.filter(({name}) => before.has(name))
        const lost = held.filter(({name}) => !after.has(name))
        // One that was kept as the newest, and was no longer among the verified ones, may go.
        expect(lost.length).toBeLessThanOrEqual(1)
        const byRule = new Set(
          planRetention(all, policy, now)
            .kept.filter(({reasons}) =>
              reasons.some((reason) => reason.endsWith('that passed a restore test')),
            )
            .map(({backup}) => backup.name),
        )
        for (const {name} of lost) expect(byRule).not.toContain(name)
      }),
    )
  })
})
