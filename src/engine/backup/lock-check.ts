import type {LockTable} from '../../postgres/server.js'
import type {Relation} from '../content/relations.js'
import {lockTableTooSmall} from './dump-errors.js'

/** Locks that other sessions hold at any time; a dump that needs nearly all would fail on chance. */
const reserve = 200

/**
 * pg_dump locks every table it dumps in one transaction. Asked before it starts, since it would fail after minutes.
 * @throws DbbakError LOCK_TABLE_TOO_SMALL naming the setting and a value that does
 */
export function checkLockTable(relations: Relation[], lockTable: LockTable): void {
  const tables = relations.filter(({included, kind}) => included && kind !== 'foreign').length
  if (tables + reserve <= lockTable.capacity) return
  throw lockTableTooSmall(tables, recommendedLocks(tables, lockTable))
}

/** The next power of two that holds the tables with some room. */
export function recommendedLocks(objects: number, {sessions, maxLocksPerTransaction}: LockTable): number {
  let value = maxLocksPerTransaction
  while (value * sessions < objects * 1.25 + reserve) value *= 2
  return value
}
