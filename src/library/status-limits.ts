import type {StatusLimits} from '../engine/status/question.js'
import {parseDuration} from '../support/duration.js'
import {DbbakError} from '../support/errors.js'
import type {Settings} from './settings.js'

export interface LimitOptions {
  /** How old the newest backup may be: `26h`. */
  maxAge?: string | undefined
  /** How old the newest backup that passed a restore test may be: `8d`. */
  maxVerifiedAge?: string | undefined
  /** By how much the newest backup may differ from those before it: `50%`. */
  maxSizeChange?: string | undefined
}

/** Flag, config file, default. @throws DbbakError OPTION_INVALID, CONFIG_INVALID */
export function limitsOf(options: LimitOptions, settings?: Pick<Settings, keyof LimitOptions>): StatusLimits {
  const valueOf = (name: keyof LimitOptions, flag: string, otherwise: string): [string, string] => {
    const given = options[name]
    if (given !== undefined) return [given, flag]
    const setting = settings?.[name]
    return setting?.value === undefined ? [otherwise, flag] : [setting.value, setting.source]
  }
  return {
    maxAgeMs: parseDuration(...valueOf('maxAge', '--max-age', '26h')),
    maxVerifiedAgeMs: parseDuration(...valueOf('maxVerifiedAge', '--max-verified-age', '8d')),
    maxSizeChange: portionOf(...valueOf('maxSizeChange', '--max-size-change', '50%')),
  }
}

function portionOf(text: string, source: string): number {
  const percent = /^(\d+(?:\.\d+)?)\s*%$/.exec(text.trim())?.[1]
  if (percent !== undefined && Number(percent) !== 0) return Number(percent) / 100
  throw new DbbakError('OPTION_INVALID', `${source} takes a percentage, and "${text}" is none.`, {
    suggestions: ['For example: --max-size-change 50%'],
  })
}
