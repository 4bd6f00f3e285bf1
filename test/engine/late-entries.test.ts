import {expect, test} from '@jest/globals'
import {isLate, lateEntries} from '../../src/engine/archive/run-in-parts.js'

const entry = (kind: string, tag = 'orders', isAfterData = false) => ({
  id: 1,
  kind,
  schema: 'shop',
  tag,
  definition: '',
  copy: '',
  needs: [],
  isAfterData,
})

// Several jobs of pg_restore set privileges in any order; the race itself is too rare for a test.
test.each([
  [entry('ACL', 'TABLE orders'), true],
  [entry('ACL', 'SCHEMA shop'), true],
  [entry('DEFAULT ACL'), true],
  [entry('MATERIALIZED VIEW DATA', 'totals', true), true],
  [entry('EVENT TRIGGER', 'on_drop', true), true],
  [entry('COMMENT', 'EVENT TRIGGER on_drop', true), true],
  [entry('STATISTICS DATA', 'orders_pkey', true), true],
  [entry('STATISTICS DATA'), false],
  [entry('COMMENT', 'TABLE orders'), false],
  [entry('TABLE DATA'), false],
  [entry('INDEX', 'orders_pkey', true), false],
  [entry('FK CONSTRAINT', 'orders fk', true), false],
])('%j comes last, one after the other: %s', (line, expected) => {
  expect(isLate(line)).toBe(expected)
})

// As with privileges the race is too rare for a test: with pg_restore --jobs=4 one restore in 40, of partitions on two levels.
test('indexes of partitions are attached one after the other, and what needs them comes after that', () => {
  const made = (id: number, kind: string, ...needs: number[]) => ({...entry(kind, `e${id}`, true), id, needs})
  const entries = [
    made(1, 'CONSTRAINT'),
    made(2, 'CONSTRAINT', 1),
    made(3, 'INDEX ATTACH', 1, 2),
    made(4, 'FK CONSTRAINT', 1, 3),
    made(5, 'COMMENT', 4),
    made(6, 'FK CONSTRAINT', 2),
    made(7, 'ACL'),
  ]
  expect(lateEntries(entries).map(({id}) => id)).toEqual([3, 4, 5, 7])
})
