const {mkdirSync} = require('node:fs')
const {join} = require('node:path')
const {TestEnvironment} = require('jest-environment-node')

// A worker runs one file at a time: no test meets temporary files of another that runs beside it. Short, since sockets
// lie in it.
const run = process.env.DBBAK_TEST_RUN_FOLDER
if (run) {
  const folder = join(run, process.env.JEST_WORKER_ID ?? '0')
  mkdirSync(folder, {recursive: true, mode: 0o711})
  process.env.TMPDIR = process.env.TEMP = process.env.TMP = folder
}

// Jest gives tests their own Error and console; oclif and Node's own errors expect the real ones.
module.exports = class extends TestEnvironment {
  async setup() {
    await super.setup()
    this.global.Error = Error
    this.global.console = console
  }
}
