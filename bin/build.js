// Compiles src/ into an empty folder that then takes the place of dist/: a removed source never lives on in the
// package, a failed build leaves the former one, and who runs it meanwhile never meets half of it.
import {spawnSync} from 'node:child_process'
import {renameSync, rmSync} from 'node:fs'
import {fileURLToPath} from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const [dist, fresh, former] = ['dist', `dist-new-${process.pid}`, `dist-old-${process.pid}`].map(
  (name) => root + name,
)
const compiler = 'node_modules/typescript/bin/tsc'
const {status} = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.json', '--outDir', fresh], {
  cwd: root,
  stdio: 'inherit',
})
if (status === 0) {
  rename(dist, former)
  rename(fresh, dist)
}
rmSync(fresh, {recursive: true, force: true})
rmSync(former, {recursive: true, force: true})
if (status !== 0) process.exit(status ?? 1)

/** A folder that is not there, or that another build has put there first, is no failure. */
function rename(from, to) {
  try {
    renameSync(from, to)
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(error.code)) throw error
  }
}
