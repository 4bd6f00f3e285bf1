import {spawn, type ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {mkdir, mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import ts from 'typescript'

/** The server as a process of its own, to be stopped, killed and started again; what it kept stays. */
export interface GcsServerProcess {
  readonly endpoint: string
  readonly bucket: string
  /** SIGSTOP: connections stay open, and nothing moves on them. */
  pause(): void
  resume(): void
  kill(): Promise<void>
  /** On the same port, with the same content. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export async function startGcsServerProcess(bucket = 'bucket'): Promise<GcsServerProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'gcs-server-process-'))
  const program = await compileServer(join(folder, 'program'))
  const data = join(folder, 'data')
  let [child, endpoint] = await run(program, [data, '0', bucket])
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  return {
    endpoint,
    bucket,
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    kill,
    restart: async () => {
      await kill()
      ;[child, endpoint] = await run(program, [data, new URL(endpoint).port, bucket])
    },
    stop: async () => {
      await kill()
      await rm(folder, {recursive: true, force: true})
    },
  }
}

async function run(program: string, args: string[]): Promise<[child: ChildProcess, endpoint: string]> {
  const child = spawn(process.execPath, [program, ...args], {stdio: ['ignore', 'pipe', 'inherit']})
  const [line] = (await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`the GCS server ended with ${code}`)
    }),
  ])) as [Buffer]
  return [child, line.toString().trim()]
}

/** Strips the types off this folder's files. @returns the program */
async function compileServer(target: string): Promise<string> {
  const source = fileURLToPath(new URL('.', import.meta.url))
  await mkdir(target, {recursive: true})
  await writeFile(join(target, 'package.json'), '{"type": "module"}')
  const options = {module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023, verbatimModuleSyntax: true}
  for (const name of await readdir(source)) {
    if (!name.endsWith('.ts') || ['process.ts', 'index.ts'].includes(name)) continue
    const text = ts.transpileModule(await readFile(join(source, name), 'utf8'), {
      compilerOptions: options,
    }).outputText
    await writeFile(join(target, name.replace(/\.ts$/, '.js')), text)
  }
  return join(target, 'main.js')
}
