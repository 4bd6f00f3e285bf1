import {spawn} from 'node:child_process'
import {mkdir, mkdtemp, readFile, realpath, writeFile} from 'node:fs/promises'
import {globSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {delimiter, join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {parse} from 'yaml'

/** A step of a workflow's job or of a composite action. */
export interface Step {
  id?: string
  name?: string
  if?: string
  uses?: string
  with?: Record<string, unknown>
  env?: Record<string, string>
  run?: string
  shell?: string
}

export interface Job {
  name?: string
  needs?: string[]
  if?: string
  permissions?: Record<string, string>
  'timeout-minutes'?: number
  defaults?: {run: Record<string, string>}
  steps: Step[]
}

export interface Workflow {
  on: {schedule: {cron: string}[]; workflow_dispatch: {inputs: Record<string, {type: string}>}}
  permissions: Record<string, string>
  concurrency: {group: string; 'cancel-in-progress': boolean}
  defaults: {run: {shell: string}}
  jobs: Record<string, Job>
}

export interface Action {
  inputs: Record<string, {default?: string; required?: boolean}>
  outputs: Record<string, {value: string}>
  runs: {using: string; steps: Step[]}
}

export const repository = fileURLToPath(new URL('../../', import.meta.url))

export async function readYaml<T>(path: string): Promise<T> {
  return parse(await readFile(join(repository, path), 'utf8')) as T
}

/** What `${{ }}` can refer to. */
export interface Contexts {
  [name: string]: unknown
}

export type Outcome = 'success' | 'failure' | 'skipped'

export interface StepResult {
  name: string
  outcome: Outcome
  log: string
}

/** A run of a job's steps, as a runner of GitHub would do it. */
export interface Runner {
  /** The job's workspace. */
  workspace: string
  /** What RUNNER_TEMP names. */
  temporary: string
  /** First on PATH; a test puts its own programs there. */
  bin: string
  run(steps: Step[], contexts: Contexts, shell?: string): Promise<JobRun>
}

export interface JobRun {
  outcome: 'success' | 'failure'
  steps: StepResult[]
  outputs: Record<string, Record<string, string>>
  summary: string
  log: string
}

export interface RunnerOptions {
  /** The environment of the job. */
  env: Record<string, string | undefined>
}

/** Makes a workspace, and programs that stand for those of a runner: each records how it was called. */
export async function startRunner({env}: RunnerOptions): Promise<Runner> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'runner-')))
  const [workspace, temporary, bin] = ['workspace', 'temp', 'bin'].map((name) => join(folder, name))
  for (const path of [workspace, temporary, bin]) await mkdir(path)
  const runner = {workspace, temporary, bin}
  return {...runner, run: (steps, contexts, shell) => runSteps(runner, env, {steps, contexts, shell})}
}

/** A program on a runner's PATH. */
export async function putProgram({bin}: Pick<Runner, 'bin'>, name: string, text: string): Promise<void> {
  await writeFile(join(bin, name), text, {mode: 0o755})
}

/** How a program was called, one line a call; for those that `recorder` made. */
export async function callsOf({bin}: Pick<Runner, 'bin'>, name: string): Promise<string[]> {
  const text = await readFile(join(bin, `${name}.calls`), 'utf8').catch(() => '')
  return text.split('\n').filter((line) => line !== '')
}

/** Shell that records a call. */
export const record =
  'printf "%s\\n" "$(basename "$0") $*" | tr "\\n" " " >> "$0.calls"; echo >> "$0.calls"\n'

interface Order {
  steps: Step[]
  contexts: Contexts
  shell: string | undefined
}

async function runSteps(
  runner: Pick<Runner, 'workspace' | 'temporary' | 'bin'>,
  env: Record<string, string | undefined>,
  {steps, contexts, shell}: Order,
): Promise<JobRun> {
  const results: StepResult[] = []
  const outputs: JobRun['outputs'] = {}
  const summaryFile = join(runner.temporary, 'summary.md')
  await writeFile(summaryFile, '')
  let failed = false
  for (const [index, step] of steps.entries()) {
    const known = {...contexts, env, steps: stepsContext(outputs, results, steps)}
    const name = step.name ?? step.uses ?? `step ${index + 1}`
    if (!conditionHolds(step.if, known, failed, runner.workspace)) {
      results.push({name, outcome: 'skipped', log: ''})
      continue
    }
    if (step.run === undefined) {
      // An action: what it would be given is told, as a test may ask for it.
      const given = Object.entries(step.with ?? {}).map(
        ([key, text]) => `${key}=${fill(String(text), known)}`,
      )
      results.push({name, outcome: 'success', log: given.join('\n')})
      continue
    }
    const outputFile = join(runner.temporary, `output-${index}`)
    await writeFile(outputFile, '')
    const own = Object.entries(step.env ?? {}).map(([key, text]) => [key, fill(text, known)])
    const {exitCode, log} = await runScript(step.run, step.shell ?? shell, runner, {
      ...env,
      ...(Object.fromEntries(own) as Record<string, string>),
      PATH: [runner.bin, env.PATH].join(delimiter),
      GITHUB_OUTPUT: outputFile,
      GITHUB_STEP_SUMMARY: summaryFile,
      GITHUB_ENV: join(runner.temporary, `env-${index}`),
      RUNNER_TEMP: runner.temporary,
      GITHUB_WORKSPACE: runner.workspace,
      GITHUB_ACTIONS: 'true',
      CI: 'true',
    })
    if (step.id !== undefined) outputs[step.id] = await readOutputs(outputFile)
    if (exitCode !== 0) failed = true
    results.push({name, outcome: exitCode === 0 ? 'success' : 'failure', log})
  }
  const summary = await readFile(summaryFile, 'utf8')
  const log = results.map((result) => `## ${result.name}: ${result.outcome}\n${result.log}`).join('\n')
  return {outcome: failed ? 'failure' : 'success', steps: results, outputs, summary, log}
}

function stepsContext(outputs: JobRun['outputs'], results: StepResult[], steps: Step[]): Contexts {
  return Object.fromEntries(
    steps.flatMap(({id}, index) =>
      id === undefined || !results[index]
        ? []
        : [[id, {outputs: outputs[id] ?? {}, outcome: results[index].outcome}]],
    ),
  )
}

/** As GitHub starts them: `bash` by name stops at the first error and at an error in a pipe; without a name, the first only. */
function runScript(
  script: string,
  shell: string | undefined,
  {workspace}: Pick<Runner, 'workspace'>,
  env: Record<string, string | undefined>,
): Promise<{exitCode: number | null; log: string}> {
  const options = shell === 'bash' ? ['--noprofile', '--norc', '-eo', 'pipefail'] : ['-e']
  const child = spawn('bash', [...options, '-c', script], {
    cwd: workspace,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let log = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (log += text))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (exitCode) => resolve({exitCode, log}))
  })
}

async function readOutputs(file: string): Promise<Record<string, string>> {
  const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '')
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
}

/** Puts values for `${{ }}`. */
export function fill(text: string, contexts: Contexts): string {
  return text.replace(/\$\{\{(.*?)\}\}/gs, (_, expression: string) => asText(evaluate(expression, contexts)))
}

function asText(value: unknown): string {
  if (value === null || value === undefined) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** A step goes on after a failure only where its condition asks for the state of the job. */
export function conditionHolds(
  condition: string | undefined,
  contexts: Contexts,
  failed: boolean,
  workspace: string,
): boolean {
  const asked = condition ?? 'success()'
  const functions = {
    always: () => true,
    cancelled: () => false,
    failure: () => failed,
    success: () => !failed,
    hashFiles: (pattern: string) => globSync(pattern, {cwd: workspace}).sort().join(),
  }
  const asksForState = /\b(always|cancelled|failure|success)\(\)/.test(asked)
  return (asksForState || !failed) && Boolean(evaluate(asked, {...contexts, ...functions}))
}

/** GitHub's expressions, as far as they are JavaScript's with other names: `a.b-c`, 'text', == != && || ! and calls. */
export function evaluate(expression: string, contexts: Contexts): unknown {
  const translated = expression.replace(/'[^']*'|[A-Za-z_][\w-]*(?:\.[A-Za-z_*][\w-]*)*/g, (word) => {
    if (word.startsWith("'") || word === 'true' || word === 'false') return word
    const [first, ...rest] = word.split('.')
    return [`contexts[${JSON.stringify(first)}]`, ...rest.map((name) => `?.[${JSON.stringify(name)}]`)].join(
      '',
    )
  })
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the expressions are those of this repository
  return (new Function('contexts', `return (${translated})`) as (known: Contexts) => unknown)(contexts)
}
