import {existsSync} from 'node:fs'
import {join} from 'node:path'
import {Socket} from 'node:net'
import type {Fail, Settings} from './connection-parameters.js'

/** One server that a connection description names. */
export interface HostAddress {
  /** A name, an IP address, or a socket directory (begins with `/`, or with `@` in Linux's abstract name space). */
  host: string
  port: number
  /** The IP address to go to in place of looking `host` up (libpq's hostaddr). */
  address?: string
}

const defaultPort = 5432

/** The hosts of the settings in order, with libpq's defaults. */
export function hostAddresses(settings: Settings, fail: Fail): HostAddress[] {
  const addresses = list(settings.hostaddr)
  const hosts = settings.host ? list(settings.host) : addresses.map(() => '')
  if (hosts.length === 0) hosts.push('')
  if (addresses.length > 0 && addresses.length !== hosts.length) {
    throw fail(`it names ${hosts.length} hosts but ${addresses.length} addresses in hostaddr`)
  }
  const ports = portsFor(hosts.length, settings.port, fail)
  return hosts.map((host, i) => hostAddress(host, addresses[i] ?? '', ports[i] ?? defaultPort))
}

function hostAddress(host: string, address: string, port: number): HostAddress {
  if (address === '') return {host: host || defaultSocketFolder(port), port}
  return {host: host || address, port, address}
}

const list = (text: string | undefined): string[] => (text ? text.split(',') : [])

function portsFor(hostCount: number, text: string | undefined, fail: Fail): number[] {
  const ports = list(text).map((port) => portNumber(port, fail))
  if (ports.length > 1 && ports.length !== hostCount)
    throw fail(`it names ${hostCount} hosts but ${ports.length} ports`)
  return ports.length === 1 ? Array.from({length: hostCount}, () => ports[0]!) : ports
}

function portNumber(text: string, fail: Fail): number {
  const port = text === '' ? defaultPort : /^\s*\d{1,5}\s*$/.test(text) ? Number(text) : 0
  if (port >= 1 && port <= 65535) return port
  // Not repeated: after a password with a raw / in it, what stands here is the password.
  throw fail('the port is not a number from 1 to 65535', [
    'An IPv6 address is written in brackets: postgresql://[::1]:5432/database',
    'In the user and password write / as %2F, : as %3A, @ as %40, # as %23, ? as %3F and % as %25',
  ])
}

/**
 * Where libpq looks for the server's socket when no host is named. That place is compiled into each libpq; here it is
 * the first usual one that has a socket, so that the client tools, which are told of it, and dbbak agree.
 */
export function defaultSocketFolder(port: number): string {
  if (process.platform === 'win32') return 'localhost'
  const usual = ['/var/run/postgresql', '/tmp']
  return (
    usual.find((folder) => existsSync(join(folder, `.s.PGSQL.${port}`))) ??
    usual.find((folder) => existsSync(folder)) ??
    '/tmp'
  )
}

export function isSocketFolder(host: string): boolean {
  return host.startsWith('/') || host.startsWith('@')
}

/** How a password file writes this host: libpq calls its own default socket directory `localhost`. */
export function passFileHost({host, port}: HostAddress): string {
  return host === defaultSocketFolder(port) ? 'localhost' : host
}

/** `db.internal:5432`, `[::1]:5432`, `/var/run/postgresql:5432`: fit to print. */
export function printedAddress({host, port}: HostAddress): string {
  return `${host.includes(':') && !isSocketFolder(host) ? `[${host}]` : host}:${port}`
}

/** A host may have several IP addresses; node gives up on each after a quarter of a second unless told otherwise. */
const addressTimeoutMs = 4000

/** A socket that goes to this address whatever host it is told to connect to: `pg` knows neither hostaddr nor `@`. */
export function socketTo({host, port, address}: HostAddress): Socket {
  const socket = new Socket()
  const connect = socket.connect.bind(socket)
  const target = isSocketFolder(host)
    ? {path: `${host.replace(/^@/, '\0')}/.s.PGSQL.${port}`}
    : {host: address ?? host, port, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: addressTimeoutMs}
  socket.connect = () => connect(target)
  return socket
}
