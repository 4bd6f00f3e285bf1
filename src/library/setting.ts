import type {DbbakError} from '../support/errors.js'

/** A value and where it came from: a flag, an environment variable, the config file's name, `default`, `not set`. */
export interface Setting<T> {
  /** @throws DbbakError the fault, where there is one */
  readonly value: T
  source: string
  /** Why there is no value, although there should be one: it stops only what needs it. */
  fault?: DbbakError | undefined
}

export function failing<T>(fault: DbbakError, source: string): Setting<T> {
  return {
    source,
    fault,
    get value(): T {
      throw fault
    },
  }
}

/** What follows from a setting; its fault follows too. */
export function following<A, B>(setting: Setting<A>, of: (setting: Setting<A>) => Setting<B>): Setting<B> {
  return setting.fault ? failing(setting.fault, setting.source) : of(setting)
}
