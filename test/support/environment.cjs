// Jest gives tests their own Error and console; oclif and Node's own errors expect the real ones.
const {TestEnvironment} = require('jest-environment-node')

module.exports = class extends TestEnvironment {
  async setup() {
    await super.setup()
    this.global.Error = Error
    this.global.console = console
  }
}
