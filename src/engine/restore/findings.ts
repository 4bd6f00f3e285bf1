import {DbbakError, type ErrorCode} from '../../support/errors.js'

/** One thing that preflight found: an error stops the restore, a warning is shown. */
export interface Finding {
  code: string
  severity: 'error' | 'warning'
  message: string
  /** The command or change that mends it. */
  fix?: string
}

export function asFinding(error: DbbakError): Finding {
  const [fix] = error.suggestions
  return {code: error.code, severity: 'error', message: error.message, ...(fix ? {fix} : {})}
}

/** All findings in one error, so that they can be mended in one go. @throws DbbakError PREFLIGHT_FAILED */
export function throwOnErrors(findings: Finding[]): void {
  const errors = findings.filter(({severity}) => severity === 'error')
  const [first] = errors
  if (!first) return
  const text = errors
    .map(({code, message}) => (errors.length === 1 ? message : `\n  ${code}: ${message}`))
    .join('')
  const code: ErrorCode = 'PREFLIGHT_FAILED'
  throw new DbbakError(
    code,
    errors.length === 1
      ? `${first.code}: ${text}`
      : `${errors.length} findings stand against this restore:${text}`,
    {
      suggestions: [...new Set(errors.flatMap(({fix}) => (fix ? [fix] : [])))],
      details: {findings},
    },
  )
}
