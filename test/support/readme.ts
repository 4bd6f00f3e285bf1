import {readFileSync} from 'node:fs'

const readme = new URL('../../README.md', import.meta.url)

/** The code blocks of one language under a heading of the README: what users copy, tests run. */
export function readmeBlocks(heading: string, language: string): string[] {
  const [, section = ''] = readFileSync(readme, 'utf8').split(`\n## ${heading}\n`)
  const [own = ''] = section.split(/\n## /)
  const blocks = [...own.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(
    ([, text]) => text,
  )
  if (blocks.length === 0) throw new Error(`README.md has no ${language} block under "${heading}"`)
  return blocks
}
