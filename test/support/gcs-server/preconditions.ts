import {GoogleError, invalid, preconditionFailed} from './errors.js'

/**
 * "Request preconditions": a Match that does not hold is 412, a NotMatch that does not hold 304. Generation 0 stands
 * for an object that does not exist.
 */
export function checkPreconditions(
  object: {generation: string; metageneration: number} | undefined,
  conditions: URLSearchParams,
): void {
  const generation = object?.generation ?? '0'
  const metageneration = String(object?.metageneration ?? 0)
  const checks: [name: string, actual: string, wanted: boolean][] = [
    ['ifGenerationMatch', generation, true],
    ['ifGenerationNotMatch', generation, false],
    ['ifMetagenerationMatch', metageneration, true],
    ['ifMetagenerationNotMatch', metageneration, false],
  ]
  for (const [name, actual, wanted] of checks) {
    const value = conditions.get(name)
    if (value === null) continue
    if (!/^\d+$/.test(value)) throw invalid(`Invalid long value: '${value}'.`)
    if ((value === actual) === wanted) continue
    throw wanted ? preconditionFailed() : new GoogleError(304, 'notModified', 'Not Modified')
  }
}
