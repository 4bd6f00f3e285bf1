import type {EventEmitter} from 'node:events'
import type {Duplex} from 'node:stream'
import type {Client} from 'pg'
import {DbbakError} from '../support/errors.js'
import type {ConnectionDescription} from './connection.js'

/** What `pg` has but does not put into its types; the tests hold it. */
interface Internals {
  connection: EventEmitter & {stream: Duplex; attachListeners: (stream: Duplex) => void}
  connectionParameters: {options: string | undefined}
}

const internalsOf = (client: Client): Internals => client as unknown as Internals

/** Ends a session at once, whatever it is in the middle of. */
export function destroySession(client: Client, reason?: Error): void {
  internalsOf(client).connection.stream.destroy(reason)
}

/**
 * Makes a client that has not connected yet hold to the description where `pg` itself would not: no PGOPTIONS of this
 * process, channel_binding=require and require_auth, and no crash when what answers is not a PostgreSQL server.
 */
export function guardSession(client: Client, description: ConnectionDescription): void {
  const {connection, connectionParameters} = internalsOf(client)
  connectionParameters.options = description.setting('options') || undefined
  surviveNonsense(connection)
  guardAuthentication(client, description)
}

/** `pg` throws out of the socket's event when it cannot make sense of a message: that would end the process. */
function surviveNonsense(connection: Internals['connection']): void {
  const attach = connection.attachListeners.bind(connection)
  connection.attachListeners = (stream) => {
    const careful = (listener: (data: Buffer) => void) => (data: Buffer) => {
      try {
        listener(data)
      } catch (error) {
        stream.destroy(error as Error)
      }
    }
    const facade = {
      on: (event: string, listener: (data: Buffer) => void) =>
        stream.on(event, event === 'data' ? careful(listener) : listener),
    }
    attach(facade as unknown as Duplex)
  }
}

type Method = 'password' | 'md5' | 'scram-sha-256' | 'none'

/** Refuses before any answer is sent: our listeners run before those of `pg`, which cannot write any more then. */
function guardAuthentication(client: Client, description: ConnectionDescription): void {
  const bound = description.setting('channel_binding') === 'require'
  const allowed = description.setting('require_auth') || undefined
  if (!bound && allowed === undefined) return
  const {connection} = internalsOf(client)
  let asked = false
  const ask = (method: Method, isBound: boolean) => {
    asked = true
    const error = refusal(method, {bound, isBound, allowed}, description)
    if (error !== undefined) destroySession(client, error)
  }
  connection.prependListener('authenticationCleartextPassword', () => ask('password', false))
  connection.prependListener('authenticationMD5Password', () => ask('md5', false))
  connection.prependListener('authenticationSASL', ({mechanisms}: {mechanisms: string[]}) =>
    ask('scram-sha-256', mechanisms.includes('SCRAM-SHA-256-PLUS')),
  )
  connection.prependListener('authenticationOk', () => asked || ask('none', false))
}

function refusal(
  method: Method,
  rules: {bound: boolean; isBound: boolean; allowed: string | undefined},
  description: ConnectionDescription,
): DbbakError | undefined {
  const refuse = (why: string) =>
    new DbbakError('AUTHENTICATION_FAILED', `${description.redacted()} was not given the password: ${why}.`)
  if (rules.bound && !rules.isBound)
    return refuse('channel_binding=require, and the server does not offer it')
  if (rules.allowed === undefined || allows(rules.allowed, method)) return undefined
  return refuse(`it asks for the authentication method ${method}, and require_auth=${rules.allowed}`)
}

/** `scram-sha-256,md5`, or `!password,!none`. */
function allows(list: string, method: Method): boolean {
  const words = list.split(',').map((word) => word.trim())
  return words[0]?.startsWith('!') ? !words.includes(`!${method}`) : words.includes(method)
}
