import type {Socket} from 'node:net'
import type {ClientTools} from './client-tools.js'
import type {ConnectionDescription} from './connection.js'
import {runTool, startTool, type RunningTool} from './run-tool.js'
import {withServerSettings} from './tool-settings.js'

export interface DumpRequest {
  format: 'custom' | 'plain' | 'directory'
  /** As pg_dump's --compress takes it. */
  compress: string
  /** From pg_export_snapshot(): the dump shows exactly what the exporting session sees. */
  snapshot: string
  jobs: number
  lockTimeoutMs: number
  schemas?: string[] | undefined
  excludeSchemas?: string[] | undefined
  tables?: string[] | undefined
  excludeTables?: string[] | undefined
  excludeTableData?: string[] | undefined
  /** For the directory format: a folder that does not exist yet. */
  folder?: string | undefined
}

export interface ToolContext {
  connection: ConnectionDescription
  /** The environment to pass on; libpq's own variables in it are replaced by the connection's. */
  env: Record<string, string | undefined>
  /** The database or the role has a statement_timeout: the tools lift it, but not by their first statement. */
  hasStatementTimeout?: boolean | undefined
  signal?: AbortSignal | undefined
}

/**
 * Starts pg_dump; it writes to stdout, or for the directory format into its folder.
 * @param output what its stdout is to be, instead of a pipe
 */
export function startDump(
  tools: ClientTools,
  request: DumpRequest,
  context: ToolContext,
  output?: Socket,
): RunningTool {
  const {connection, signal} = context
  return startTool(tools.dump, [...dumpArguments(request), `--dbname=${connection.databaseArgument()}`], {
    env: environmentOf(context),
    signal,
    stdout: request.format === 'directory' ? 'ignore' : (output ?? 'pipe'),
  })
}

function environmentOf({connection, env, hasStatementTimeout = false}: ToolContext): Record<string, string> {
  const environment = connection.toolEnvironment(env)
  return hasStatementTimeout ? withServerSettings(environment, {statement_timeout: '0'}) : environment
}

function dumpArguments(request: DumpRequest): string[] {
  const each = (option: string, patterns: string[] | undefined) =>
    (patterns ?? []).map((pattern) => `${option}=${pattern}`)
  return [
    `--format=${request.format}`,
    `--compress=${request.compress}`,
    `--snapshot=${request.snapshot}`,
    ...(request.lockTimeoutMs > 0 ? [`--lock-wait-timeout=${Math.round(request.lockTimeoutMs)}`] : []),
    ...(request.folder ? [`--file=${request.folder}`, `--jobs=${request.jobs}`, '--no-sync'] : []),
    ...each('--schema', request.schemas),
    ...each('--exclude-schema', request.excludeSchemas),
    ...each('--table', request.tables),
    ...each('--exclude-table', request.excludeTables),
    ...each('--exclude-table-data', request.excludeTableData),
    '--no-password',
  ]
}

/** Roles and tablespaces of the whole server as SQL, without password hashes. */
export async function dumpGlobals(tools: ClientTools, context: ToolContext): Promise<string> {
  const {connection, signal} = context
  const {stdout} = await runTool(
    tools.dumpAll,
    ['--globals-only', '--no-role-passwords', '--no-password', `--dbname=${connection.databaseArgument()}`],
    {env: environmentOf(context), signal},
  )
  return stdout
}
