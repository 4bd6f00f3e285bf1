// Compiles src/ to dist/ from an empty folder, so that a removed source never lives on in the package.
import {spawnSync} from 'node:child_process'
import {rmSync} from 'node:fs'
import {fileURLToPath} from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
rmSync(new URL('../dist', import.meta.url), {recursive: true, force: true})
const {status} = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'], {cwd: root, stdio: 'inherit'})
process.exit(status ?? 1)
