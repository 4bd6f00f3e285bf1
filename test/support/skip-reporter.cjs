const {writeSync} = require('node:fs')

/** Skipped tests must be seen: lists them with the reason that stands in their names, and counts at the very end. */
module.exports = class SkipReporter {
  onRunComplete(_contexts, results) {
    const skipped = results.testResults.flatMap((file) => file.testResults.filter(isSkipped))
    const counts = `Tests: ${results.numPassedTests} passed, ${failures(results)} failed, ${skipped.length} skipped`
    // Jest's own summary is printed after this; the counts have to be the last line.
    process.once('exit', () => writeSync(1, [...listOf(skipped), counts, ''].join('\n')))
  }
}

function isSkipped(test) {
  return ['pending', 'skipped', 'todo', 'disabled'].includes(test.status)
}

/** A file that could not even be loaded has no failed test, and is a failure all the same. */
function failures(results) {
  return results.numFailedTests + results.numRuntimeErrorTestSuites
}

function listOf(skipped) {
  return skipped.length === 0 ? [] : ['', 'Skipped:', ...skipped.map((test) => `  ${test.fullName}`), '']
}
