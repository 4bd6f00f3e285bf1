import {spawn, type ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {readFile, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {pathToFileURL} from 'node:url'
import {compiled} from './compiled.js'
import {until} from './processes.js'

/** What the process wrote about itself. */
export interface OwnerReport {
  /** The server's process. */
  server: number
  guardian: number
  folder: string
}

/** A process of its own that holds a scratch server, to be killed. */
export interface OwnerProcess {
  child: ChildProcess
  report: OwnerReport
  /** Sends a signal and waits for the process to be gone. */
  end(signal: NodeJS.Signals): Promise<void>
}

/** Starts one in a folder; `after` runs once the server is up. */
export async function startOwner(folder: string, env: NodeJS.ProcessEnv, after = ''): Promise<OwnerProcess> {
  const script = join(folder, 'owner.mjs')
  const reportFile = join(folder, 'report.json')
  await rm(reportFile, {force: true})
  await writeFile(script, await program(reportFile, after))
  const child = spawn(process.execPath, [script], {env, stdio: ['ignore', 'inherit', 'inherit']})
  const ended = once(child, 'exit')
  const read = () => readFile(reportFile, 'utf8').catch(() => '')
  await until(async () => (await read()).endsWith('\n') || child.exitCode !== null, 'the owner has a server')
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    await ended
  }
  return {child, report: JSON.parse(await read()) as OwnerReport, end}
}

async function program(reportFile: string, after: string): Promise<string> {
  const module = async (name: string) => JSON.stringify(pathToFileURL(await compiled(name)).href)
  return `
    import {execFileSync} from 'node:child_process'
    import {writeFileSync} from 'node:fs'
    import {startCluster} from ${await module('postgres/scratch/cluster')}
    import {findServerPrograms} from ${await module('postgres/scratch/server-programs')}
    const [programs] = await findServerPrograms(process.env)
    const cluster = await startCluster({programs, env: process.env})
    const guardian = Number(/^ *(\\d+) +(\\d+) .*dbbak-guardian *$/gm
      [Symbol.matchAll](execFileSync('ps', ['-Ao', 'pid=,ppid=,args=']).toString())
      .find(([, , parent]) => Number(parent) === process.pid)[1])
    const report = {server: cluster.pid(), guardian, folder: cluster.folder}
    writeFileSync(${JSON.stringify(reportFile)}, JSON.stringify(report) + '\\n')
    const keepAlive = setInterval(() => {}, 1000)
    ${after}
  `
}
