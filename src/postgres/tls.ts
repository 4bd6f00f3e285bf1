import {existsSync, readFileSync, statSync} from 'node:fs'
import {isIP} from 'node:net'
import {resolve} from 'node:path'
import * as tls from 'node:tls'
import {DbbakError, messageOf} from '../support/errors.js'
import {defaultTlsFile, type ConnectionEnvironment} from './connection-environment.js'
import type {Settings} from './connection-parameters.js'

/** The files of a TLS connection, as libpq finds them; whether they are there is seen when they are used. */
export interface TlsFiles {
  /** `system`: what the operating system trusts. */
  root: string
  certificate: string
  key: string
  revocations: string
}

/** How a session can be carried. */
export type Transport = 'plain' | 'tls'

export function tlsFiles(settings: Settings, from: ConnectionEnvironment): TlsFiles {
  const file = (named: string | undefined, usual: string) =>
    named ? resolve(named) : defaultTlsFile(from, usual)
  return {
    // libpq before 16 takes `system` for the name of a file; with the bundle's own path every version works.
    root: settings.sslrootcert === 'system' ? systemBundle(from.env) : file(settings.sslrootcert, 'root.crt'),
    certificate: file(settings.sslcert, 'postgresql.crt'),
    key: file(settings.sslkey, 'postgresql.key'),
    revocations: file(settings.sslcrl, 'root.crl'),
  }
}

function systemBundle(env: ConnectionEnvironment['env']): string {
  const usual = [
    '/etc/ssl/certs/ca-certificates.crt',
    '/etc/pki/tls/certs/ca-bundle.crt',
    '/etc/ssl/cert.pem',
  ]
  const bundles = [...(env.SSL_CERT_FILE ? [env.SSL_CERT_FILE] : []), ...usual]
  return bundles.find((file) => existsSync(file)) ?? 'system'
}

/** The ways to try in libpq's order: `prefer` is TLS and then plain, `allow` the other way round; a socket needs none. */
export function transports(
  sslmode: string | undefined,
  overSocketFile: boolean,
): readonly [Transport, ...Transport[]] {
  if (overSocketFile || sslmode === 'disable') return ['plain']
  if (sslmode === 'allow') return ['plain', 'tls']
  return sslmode === 'prefer' ? ['tls', 'plain'] : ['tls']
}

/** The client tools' variables for the files: those that were named, and those that are found at their usual place. */
export function tlsVariables(settings: Settings, files: TlsFiles): Record<string, string> {
  const variables: Record<string, string> = {}
  const add = (name: string, named: string | undefined, file: string) => {
    if (named || existsSync(file)) variables[name] = file
  }
  add('PGSSLROOTCERT', settings.sslrootcert, files.root)
  add('PGSSLCERT', settings.sslcert, files.certificate)
  add('PGSSLKEY', settings.sslkey, files.key)
  add('PGSSLCRL', settings.sslcrl, files.revocations)
  return variables
}

/**
 * What `node:tls` needs to do as libpq does: the certificate chain is checked when there is a root certificate file,
 * whatever the sslmode; the name in it only with verify-full.
 * @throws DbbakError TLS_FAILED when a file that is needed is missing or unusable
 */
export function tlsOptions(settings: Settings, files: TlsFiles): tls.ConnectionOptions {
  const authorities = trusted(settings, files)
  const {ssl_min_protocol_version: oldest, ssl_max_protocol_version: newest} = settings
  return {
    rejectUnauthorized: authorities !== undefined,
    ...(authorities === undefined ? {} : {ca: authorities, ...revocations(settings, files)}),
    checkServerIdentity: settings.sslmode === 'verify-full' ? checkName : () => undefined,
    minVersion: protocol(oldest) ?? 'TLSv1.2',
    ...(protocol(newest) === undefined ? {} : {maxVersion: protocol(newest)}),
    ...clientCertificate(settings, files),
  }
}

function trusted(settings: Settings, files: TlsFiles): string | string[] | undefined {
  if (files.root === 'system') return tls.getCACertificates('system')
  if (existsSync(files.root)) return read(files.root, 'root certificate')
  if (!settings.sslmode?.startsWith('verify')) return undefined
  throw new DbbakError(
    'TLS_FAILED',
    `sslmode=${settings.sslmode} needs a root certificate, and ${files.root} is not there.`,
    {
      suggestions: [
        'Give the file with the authority that signed the server’s certificate: sslrootcert=/path/to/ca.crt',
        'To trust what the operating system trusts: sslrootcert=system',
      ],
    },
  )
}

function revocations(settings: Settings, files: TlsFiles): {crl?: string} {
  return settings.sslcrl || existsSync(files.revocations)
    ? {crl: read(files.revocations, 'revocation list')}
    : {}
}

function clientCertificate(settings: Settings, files: TlsFiles): tls.ConnectionOptions {
  if (settings.sslcertmode === 'disable' || !existsSync(files.certificate)) return {}
  if (!existsSync(files.key)) {
    throw new DbbakError(
      'TLS_FAILED',
      `There is a client certificate, ${files.certificate}, but not its private key, ${files.key}.`,
      {
        suggestions: [
          'Name the key: sslkey=/path/to/client.key',
          'To use no certificate: sslcertmode=disable',
        ],
      },
    )
  }
  refuseOpenKey(files.key)
  return {
    cert: read(files.certificate, 'client certificate'),
    key: read(files.key, 'private key'),
    ...(settings.sslpassword ? {passphrase: settings.sslpassword} : {}),
  }
}

/** libpq would refuse it as well: 0600, or 0640 where root owns it. */
function refuseOpenKey(file: string): void {
  const {mode, uid} = statSync(file)
  const open = mode & (uid === 0 ? 0o037 : 0o077)
  if (process.platform === 'win32' || open === 0) return
  throw new DbbakError('TLS_FAILED', `The private key ${file} may be read by others.`, {
    suggestions: [`chmod 600 ${file}`],
  })
}

function read(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new DbbakError('TLS_FAILED', `The ${what} ${file} cannot be read: ${messageOf(cause)}.`, {cause})
  }
}

const protocol = (name: string | undefined): tls.SecureVersion | undefined =>
  (['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const).find(
    (version) => version.toLowerCase() === name?.toLowerCase(),
  )

/** Like libpq, an IP address may also stand in the common name of a certificate that lists no other names. */
function checkName(host: string, certificate: tls.PeerCertificate): Error | undefined {
  const isCommonName = certificate.subjectaltname === undefined && certificate.subject.CN === host
  return isIP(host) !== 0 && isCommonName ? undefined : tls.checkServerIdentity(host, certificate)
}
