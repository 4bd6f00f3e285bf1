import {readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'

export const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

/** Seconds. */
export async function timed(work) {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

/**
 * Options for a Node that writes down its own peak of memory when it ends, and what it was, in MB. Linux's own peak
 * (VmHWM), not maxRSS: a process starts with the latter of the one it was forked from.
 */
export function peakMemory(folder) {
  const [module, file] = [join(folder, 'peak.mjs'), join(folder, 'peak')]
  writeFileSync(
    module,
    `import {readFileSync, writeFileSync} from 'node:fs'
    const peak = () => /^VmHWM:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]
    process.on('exit', () => writeFileSync(${JSON.stringify(file)}, peak()))`,
  )
  return {options: ['--import', module], last: () => Number(readFileSync(file, 'utf8')) / 1000}
}
