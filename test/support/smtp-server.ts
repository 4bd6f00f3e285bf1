import {execFile} from 'node:child_process'
import {mkdtemp, readFile, rm} from 'node:fs/promises'
import type {AddressInfo} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {promisify} from 'node:util'
import {SMTPServer} from 'smtp-server'

export interface ReceivedMail {
  from: string
  to: string[]
  /** Whether it came over an encrypted connection. */
  secure: boolean
  /** Whom the server let in. */
  user: string | undefined
  /** As it came: headers and body. */
  raw: string
}

export interface MailServerOptions {
  /** Logins are asked for, and these are right. */
  login?: {user: string; password: string}
  certificate?: Certificate
  /** TLS from the first byte on. */
  secure?: boolean
  /** Recipients that are refused. */
  refused?: string[]
  /** So many messages are refused for the moment (451). */
  busy?: number
  /** Recipients that are refused for the moment, once (450). */
  greylisted?: string[]
  /** Instead of any that is free. */
  port?: number
  /** What becomes of a message that was taken in full. */
  silentAfterData?: boolean
}

export interface TestMailServer {
  port: number
  mails: ReceivedMail[]
  stop(): Promise<void>
}

/** A real mail server that keeps what it is sent. */
export async function startMailServer(options: MailServerOptions = {}): Promise<TestMailServer> {
  const {login, certificate, refused = [], secure = false, silentAfterData = false} = options
  const mails: ReceivedMail[] = []
  const greylist = new Set(options.greylisted)
  let {busy = 0} = options
  const server = new SMTPServer({
    ...(certificate === undefined ? {} : {key: certificate.key, cert: certificate.cert}),
    secure,
    hideSTARTTLS: certificate === undefined,
    authOptional: login === undefined,
    disabledCommands: [
      ...(login === undefined ? ['AUTH'] : []),
      ...(certificate === undefined ? ['STARTTLS'] : []), // it has a certificate of its own
    ],
    allowInsecureAuth: true,
    closeTimeout: 100,
    onAuth({username, password}, _session, callback) {
      if (username === login?.user && password === login?.password) callback(null, {user: username})
      else callback(Object.assign(new Error(`Invalid login of ${username}`), {responseCode: 535}))
    },
    onMailFrom(_address, _session, callback) {
      if (busy-- > 0) callback(Object.assign(new Error('Busy'), {responseCode: 451}))
      else callback()
    },
    onRcptTo({address}, _session, callback) {
      if (greylist.delete(address)) callback(Object.assign(new Error('Try again later'), {responseCode: 450}))
      else if (refused.includes(address))
        callback(Object.assign(new Error(`No such mailbox ${address}`), {responseCode: 550}))
      else callback()
    },
    onData(stream, session, callback) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        const {mailFrom, rcptTo} = session.envelope
        mails.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({address}) => address),
          secure: session.secure,
          user: session.user as string | undefined,
          raw: Buffer.concat(chunks).toString(),
        })
        if (!silentAfterData) callback()
      })
    },
  })
  server.on('error', () => {}) // clients that break off, as some tests have them do
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', () => resolve()))
  const {port} = server.server.address() as AddressInfo
  return {port, mails, stop: () => new Promise((resolve) => server.close(() => resolve()))}
}

export interface Certificate {
  key: string
  cert: string
  /** The authority that signed it. */
  authority: string
}

/** A certificate of 127.0.0.1 that nobody trusts who was not given its authority. */
export async function makeCertificate(): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), 'certificate-'))
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key]
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
    await promisify(execFile)('openssl', ['req', '-x509', ...newKey, '-out', cert, '-days', '2', ...subject])
    const text = await readFile(cert, 'utf8')
    return {key: await readFile(key, 'utf8'), cert: text, authority: text}
  } finally {
    await rm(folder, {recursive: true})
  }
}
