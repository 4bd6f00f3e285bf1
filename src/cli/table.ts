import {displayWidth, pad, printable, truncate} from './format.js'

export interface Column {
  header: string
  /** Numbers read best aligned right. */
  align?: 'left' | 'right'
  /** May be cut when the terminal is too narrow. */
  canShrink?: boolean
  /** Colours a cell after it was cut and filled. */
  style?: (text: string, row: number) => string
}

export interface TableOptions {
  /** Columns of the terminal; without it nothing is cut. */
  width?: number | undefined
  styleHeader?: (text: string) => string
}

const gap = '  '
const narrowest = 8

/** Aligned columns, one line a row. Cells are plain text: control characters in them are made harmless. */
export function renderTable(columns: Column[], rows: string[][], options: TableOptions = {}): string {
  const cells = rows.map((row) => columns.map((_, index) => printable(row[index] ?? '')))
  const widths = fitWidths(columns, cells, options.width)
  const line = (row: string[], style: (column: Column, text: string) => string) =>
    columns
      .map((column, index) =>
        style(column, cell(row[index]!, widths[index]!, column, index === columns.length - 1)),
      )
      .join(gap)
      .trimEnd()
  const header = line(
    columns.map((column) => column.header),
    (_, text) => options.styleHeader?.(text) ?? text,
  )
  return [
    header,
    ...cells.map((row, index) => line(row, (column, text) => column.style?.(text, index) ?? text)),
  ].join('\n')
}

/** The last column is not filled up: nothing follows it, and copied lines carry no spaces. */
function cell(text: string, width: number, {align = 'left'}: Column, isLast: boolean): string {
  const cut = truncate(text, width)
  return isLast && align === 'left' ? cut : pad(cut, width, align)
}

/** Takes what is missing from the widest column that may shrink, until it fits or nothing can shrink any more. */
function fitWidths(columns: Column[], cells: string[][], available: number | undefined): number[] {
  const widths = columns.map(({header}, index) =>
    Math.max(displayWidth(header), ...cells.map((row) => displayWidth(row[index]!))),
  )
  if (available === undefined) return widths
  let excess = widths.reduce((sum, width) => sum + width, gap.length * (columns.length - 1)) - available
  while (excess > 0) {
    const widest = widestThatShrinks(columns, widths)
    if (widest === undefined) break
    widths[widest]!--
    excess--
  }
  return widths
}

function widestThatShrinks(columns: Column[], widths: number[]): number | undefined {
  let widest: number | undefined
  columns.forEach(({canShrink}, index) => {
    if (!canShrink || widths[index]! <= narrowest) return
    if (widest === undefined || widths[index]! > widths[widest]!) widest = index
  })
  return widest
}
