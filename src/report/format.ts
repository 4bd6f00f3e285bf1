import {formatAge} from '../support/figures.js'

/** 15 Jan 2025 */
export const formatDay = (time: string | number): string =>
  new Date(time).toLocaleDateString('en-GB', {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    timeZone: 'UTC',
  })

/** A backup from the future has no age. */
export const ageText = (seconds: number): string =>
  seconds < 0 ? `${formatAge(-seconds)} in the future` : `${formatAge(seconds)} old`

/** The server too, where several have a database of that name. */
export const labelOf = ({name, server}: {name: string; server: string | null}): string =>
  server === null ? name : `${name} (${server})`
