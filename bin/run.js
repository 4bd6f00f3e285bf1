#!/usr/bin/env node
// Kept to syntax that Node 14 parses, so that an old Node gets a sentence and not a stack trace.
import {createRequire} from 'node:module'

const {engines} = createRequire(import.meta.url)('../package.json')
const [major, minor, patch] = process.versions.node.split('.').map(Number)

/** Understands the two forms that our `engines` uses: ^a.b.c and >=a.b.c. */
const satisfies = (range) =>
  range.split('||').some((part) => {
    const [, sign, a, b, c] = /(\^|>=)(\d+)\.(\d+)\.(\d+)/.exec(part).map((x, i) => (i > 1 ? Number(x) : x))
    const newer = major > a || (major === a && (minor > b || (minor === b && patch >= c)))
    return newer && (sign === '>=' || major === a)
  })

if (satisfies(engines.node)) {
  const {main} = await import('../dist/cli/main.js')
  await main(import.meta.url)
} else {
  process.stderr.write(
    'dbbak needs Node.js ' +
      engines.node +
      ', and this is ' +
      process.version +
      ': ' +
      'install Node 24 (for example `nvm install 24`, or from nodejs.org), ' +
      'or run `npx -p node@24 -p dbbak dbbak` to use one from npm for this call.\n',
  )
  process.exitCode = 2
}
