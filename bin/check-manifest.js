// A stale oclif.manifest.json hides new commands: compare the committed one with a fresh one.
import {spawnSync} from 'node:child_process'
import {readFileSync, writeFileSync} from 'node:fs'
import {fileURLToPath} from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const file = new URL('../oclif.manifest.json', import.meta.url)
const committed = readFileSync(file, 'utf8')
const {status} = spawnSync('npx', ['oclif', 'manifest'], {cwd: root, stdio: ['ignore', 'ignore', 'inherit']})
const fresh = readFileSync(file, 'utf8')
writeFileSync(file, committed)
if (status !== 0) process.exit(status ?? 1)
if (fresh !== committed) {
  console.error(
    'oclif.manifest.json is stale: run `npm run build && npm run manifest` and commit the result.',
  )
  process.exit(1)
}
console.log('oclif.manifest.json is up to date.')
