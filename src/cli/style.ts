import {styleText} from 'node:util'

type Format = Parameters<typeof styleText>[0]

/** Colours for one stream: none where NO_COLOR is set, in a pipe or in a file; FORCE_COLOR overrules. */
export interface Style {
  bold: (text: string) => string
  dim: (text: string) => string
  good: (text: string) => string
  bad: (text: string) => string
  caution: (text: string) => string
}

export function styleFor(stream: NodeJS.WritableStream): Style {
  const styled = (format: Format) => (text: string) => styleText(format, text, {stream})
  return {
    bold: styled('bold'),
    dim: styled('dim'),
    good: styled('green'),
    bad: styled('red'),
    caution: styled('yellow'),
  }
}

/** Whether the stream shows colours at all. */
export function hasColors(stream: NodeJS.WritableStream): boolean {
  return styleFor(stream).bold('x') !== 'x'
}

export interface Symbols {
  done: string
  failed: string
  skipped: string
  caution: string
  open: string
}

/** Terminals without these characters are the Linux console and old Windows ones. */
export function symbolsFor(env: NodeJS.ProcessEnv, platform: NodeJS.Platform = process.platform): Symbols {
  const hasUnicode = platform === 'win32' ? Boolean(env.WT_SESSION ?? env.TERM_PROGRAM) : env.TERM !== 'linux'
  return hasUnicode
    ? {done: '✔', failed: '✖', skipped: '–', caution: '⚠', open: '▸'}
    : {done: '+', failed: 'x', skipped: '-', caution: '!', open: '>'}
}
