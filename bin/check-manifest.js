// A stale oclif.manifest.json hides new commands: compares the committed one with what `oclif manifest` would write
// from dist/. Made in memory, since oclif itself writes over the file.
import {readFileSync} from 'node:fs'
import {fileURLToPath} from 'node:url'
import {isDeepStrictEqual} from 'node:util'
import {Plugin} from '@oclif/core'

const root = fileURLToPath(new URL('..', import.meta.url))
const plugin = new Plugin({
  root,
  type: 'core',
  ignoreManifest: true,
  errorOnManifestCreate: true,
  respectNoCacheDefault: true,
})
await plugin.load()
// What cannot be written as JSON is in neither.
const fresh = JSON.parse(JSON.stringify(plugin.manifest))
const committed = read('oclif.manifest.json')
const differing = differences(committed, fresh)
if (differing.length > 0) {
  console.error(
    `oclif.manifest.json is stale (${differing.join(', ')}): run and commit \`npm run build && npm run manifest\`.`,
  )
  process.exitCode = 1
} else console.log('oclif.manifest.json is up to date.')

/** Undefined where there is none, or none that can be read. */
function read(name) {
  try {
    return JSON.parse(readFileSync(root + name, 'utf8'))
  } catch {
    return undefined
  }
}

/** What differs: "version", "command list". */
function differences(one, other) {
  if (typeof one?.commands !== 'object' || one.commands === null) return ['not there or not readable']
  const names = [...new Set([...Object.keys(one.commands), ...Object.keys(other.commands)])].sort()
  return [
    ...(one.version === other.version ? [] : ['version']),
    ...names
      .filter((name) => !isDeepStrictEqual(one.commands[name], other.commands[name]))
      .map((name) => `command ${name}`),
  ]
}
