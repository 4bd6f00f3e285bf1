import {expect} from '@jest/globals'
import {readFile, writeFile} from 'node:fs/promises'
import {fileURLToPath} from 'node:url'

const folder = new URL('../e2e/snapshots/', import.meta.url)

/**
 * Compares a value with the one that is checked in under this name. What scripts rely on stands there to be read;
 * after a change that is meant: DBBAK_UPDATE_SNAPSHOTS=1 npm test -- test/e2e/contract-snapshot.test.ts
 */
export async function expectSnapshot(name: string, value: unknown): Promise<void> {
  const file = new URL(`${name}.json`, folder)
  if (process.env.DBBAK_UPDATE_SNAPSHOTS) await writeFile(file, await formatted(value))
  expect(value).toEqual(JSON.parse(await readFile(file, 'utf8')))
}

/** As the formatter wants it, so that an update changes nothing else. */
async function formatted(value: unknown): Promise<string> {
  const {format, resolveConfig} = await import('prettier')
  return format(JSON.stringify(value, null, 2), {
    ...(await resolveConfig(fileURLToPath(folder))),
    parser: 'json',
  })
}

/** What a value is made of: a type's name; the shape of an array's elements; an object's keys and what they hold. */
export type Shape = string | Shape[] | {[key: string]: Shape}

/** Keys that some elements of an array lack get a `?`; where their types differ all are named. */
export function shapeOf(...values: unknown[]): Shape {
  const objects = values.filter(isObject)
  const arrays = values.filter((value) => Array.isArray(value))
  const names = values.filter((value) => !isObject(value) && !Array.isArray(value)).map(typeName)
  const shapes = [
    ...(objects.length > 0 ? [shapeOfObjects(objects)] : []),
    ...(arrays.length > 0 ? [shapeOfArrays(arrays)] : []),
    ...(names.length > 0 ? [[...new Set(names)].sort().join(' | ')] : []),
  ]
  return shapes.length === 1 ? shapes[0] : {oneOf: shapes}
}

function shapeOfObjects(objects: Record<string, unknown>[]): Shape {
  const keys = [...new Set(objects.flatMap((object) => Object.keys(object)))].sort()
  return Object.fromEntries(
    keys.map((key) => {
      const having = objects.filter((object) => key in object)
      return [
        having.length < objects.length ? `${key}?` : key,
        shapeOf(...having.map((object) => object[key])),
      ]
    }),
  )
}

function shapeOfArrays(arrays: unknown[][]): Shape {
  const elements = arrays.flat()
  return elements.length === 0 ? [] : [shapeOf(...elements)]
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const typeName = (value: unknown): string => (value === null ? 'null' : typeof value)
