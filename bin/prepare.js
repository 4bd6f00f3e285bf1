// After `npm ci`: builds, and links this package's own command, so that `npx dbbak` works inside the checkout.
import {mkdirSync, rmSync, symlinkSync} from 'node:fs'
import './build.js'

if (process.platform !== 'win32') {
  const link = new URL('../node_modules/.bin/dbbak', import.meta.url)
  mkdirSync(new URL('.', link), {recursive: true})
  rmSync(link, {force: true})
  symlinkSync('../../bin/run.js', link)
}
