#!/usr/bin/env node
// Kept to syntax and modules that Node 14.8 knows, so that an old Node gets a sentence and not a stack trace.
import {createRequire} from 'module'

const {engines} = createRequire(import.meta.url)('../package.json')
const [major, minor, patch] = process.versions.node.split('.').map((part) => parseInt(part, 10))

/** Understands the two forms that our `engines` uses: ^a.b.c and >=a.b.c. */
const satisfies = (range) =>
  range.split('||').some((part) => {
    const [, sign, a, b, c] = /(\^|>=)(\d+)\.(\d+)\.(\d+)/.exec(part).map((x, i) => (i > 1 ? Number(x) : x))
    const newer = major > a || (major === a && (minor > b || (minor === b && patch >= c)))
    return newer && (sign === '>=' || major === a)
  })

function refuse() {
  const problem = 'dbbak needs Node.js ' + engines.node + ', and this is ' + process.version
  const ways = [
    'install Node 24 (for example `nvm install 24`, or from nodejs.org)',
    'run `npx -p node@24 -p dbbak dbbak` to use one from npm for this call',
  ]
  process.exitCode = 2
  if (process.argv.includes('--json')) {
    const error = {code: 'NODE_TOO_OLD', message: problem + '.', suggestions: ways, exitCode: 2}
    process.stdout.write(JSON.stringify({error}, undefined, 2) + '\n')
  } else process.stderr.write(problem + ': ' + ways.join(', or ') + '.\n')
}

if (satisfies(engines.node)) {
  // Awaited here, so that a promise that never settles ends the process with Node's own code and not with 0.
  const {main} = await import('../dist/cli/main.js')
  await main(import.meta.url)
} else refuse()
