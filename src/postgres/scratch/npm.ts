import {access} from 'node:fs/promises'
import {delimiter, dirname, join} from 'node:path'
import {runTool} from '../run-tool.js'

type Env = Record<string, string | undefined>

/** How npm is started here: a program and what stands before npm's own arguments. */
export interface Npm {
  program: string
  prefix: string[]
}

const cli = ['node_modules', 'npm', 'bin', 'npm-cli.js']

/** npm itself: the one that started us, else the one on PATH, else the one that came with this Node. */
export async function findNpm(env: Env): Promise<Npm | undefined> {
  for (const npm of candidates(env)) {
    const exists = (path: string) =>
      access(path).then(
        () => true,
        () => false,
      )
    if (await exists(npm.prefix[0] ?? npm.program)) return npm
  }
  return undefined
}

/** Runs npm. @throws DbbakError TOOL_FAILED */
export async function runNpm(
  npm: Npm,
  args: string[],
  env: Env,
  signal: AbortSignal | undefined,
): Promise<string> {
  const options = {env: environmentOf(env), signal}
  return (await runTool(npm.program, [...npm.prefix, ...args, ...patience], options)).stdout
}

/** An unreachable registry is told within seconds, not minutes. */
const patience = [
  '--fetch-retries=1',
  '--fetch-retry-mintimeout=1000',
  '--fetch-retry-maxtimeout=2000',
  '--global=false',
]

/** npm is started without a shell, on Windows too: there the `npm` on PATH is a shell script, its program beside it. */
function candidates(env: Env): Npm[] {
  const asked = env.npm_execpath?.endsWith('npm-cli.js') ? [node(env.npm_execpath)] : []
  const folders = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const onPath = folders.map((folder) =>
    process.platform === 'win32' ? node(join(folder, ...cli)) : {program: join(folder, 'npm'), prefix: []},
  )
  const here = dirname(process.execPath)
  return [...asked, ...onPath, node(join(here, '..', 'lib', ...cli)), node(join(here, ...cli))]
}

function node(script: string): Npm {
  return {program: process.execPath, prefix: [script]}
}

const kept =
  /^(PATH|HOME|USERPROFILE|APPDATA|LOCALAPPDATA|SystemRoot|TEMP|TMP|TMPDIR|LANG|NODE_EXTRA_CA_CERTS|NODE_AUTH_TOKEN|SSL_CERT_(FILE|DIR)|(https?|no|all)_proxy|npm_config_.*|npm_token)$/i

/** What npm needs to reach its registry the way this user does; no secrets of ours. */
function environmentOf(env: Env): Record<string, string> {
  const entries = Object.entries(env).filter(([name, value]) => value !== undefined && kept.test(name))
  return Object.fromEntries(entries) as Record<string, string>
}
