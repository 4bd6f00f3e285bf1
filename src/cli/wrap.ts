import {displayWidth} from './format.js'

/** Columns of a terminal; undefined where nobody knows: what goes into a pipe or a file is never broken. */
export function columnsOf(stream: NodeJS.WriteStream): number | undefined {
  return stream.isTTY ? stream.columns : undefined
}

/**
 * A label and a text beside it: on a terminal that is too narrow the text goes on below itself, broken between words.
 * A single word is never broken, so that a name or a path can be copied.
 */
export function besideLabel(label: string, text: string, columns: number | undefined): string {
  const indent = ' '.repeat(displayWidth(label))
  return `${label}${wrap(text, columns === undefined ? undefined : columns - indent.length).join(`\n${indent}`)}`
}

const narrowest = 20

/** Lines of at most so many columns; in less than twenty nothing can be read, so nothing is broken. */
export function wrap(text: string, columns: number | undefined): string[] {
  if (columns === undefined || columns < narrowest) return [text]
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line !== '' && displayWidth(longer) > columns) {
      lines.push(line)
      line = word
    } else line = longer
  }
  return [...lines, line]
}
