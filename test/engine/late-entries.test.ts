import {expect, test} from '@jest/globals'
import {isLate} from '../../src/engine/archive/run-in-parts.js'

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
