/**
 * A tool's environment with server settings that are in force from the start of its sessions, before its first
 * statement. Poolers such as PgBouncer may refuse to pass them on: only where they are needed.
 */
export function withServerSettings(
  environment: Record<string, string>,
  settings: Record<string, string>,
): Record<string, string> {
  return {...environment, PGOPTIONS: serverOptions(environment.PGOPTIONS, settings)}
}

/** The former value of `options`, and in it settings of the server. */
export function serverOptions(former: string | undefined, settings: Record<string, string>): string {
  const options = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`)
  return [former, ...options].filter(Boolean).join(' ')
}
