import {mkdtemp, rm} from 'node:fs/promises'
import {createServer, type Server, type Socket} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import type {Client} from 'pg'
import {DbbakError} from '../support/errors.js'
import {guardian} from '../support/guardian.js'
import {ClientMessages, greeting, message, readStartup, readyForQuery} from './wire.js'

/** What a statement of the tool is answered with instead of being sent: `SET`, `COMMENT`, … */
export type StandIn = string | undefined

export interface LendingOptions {
  /**
   * The session is inside a transaction of ours: the tool's own BEGIN and COMMIT are answered and not sent, so that
   * nothing it does becomes true before we commit.
   */
  inTransaction: boolean
  /** Statements that the server is spared; see harmless-statements.ts. */
  standIn?: (sql: string) => StandIn
}

/**
 * A server session that a client tool borrows. The tool connects to a private socket, is greeted as by a server, and
 * from then on speaks to our own session: what it does is part of our transaction. So a restore by pg_restore or psql
 * can be preceded by our DROPs, followed by our checks, and committed or rolled back by us as one.
 */
export interface LentSession {
  /** For the tool's environment: how to reach the session. */
  environment: {PGHOST: string; PGPORT: string; PGSSLMODE: string}
  /**
   * Ends the lending once the tool has ended well; the session is ours again, still in its transaction.
   * @throws DbbakError CONNECTION_LOST when the tool left it in the middle of something; it is closed then
   */
  takeBack(): Promise<void>
  /** Closes the session: the server rolls back. For a tool that failed. Never throws. */
  abandon(): Promise<void>
}

const port = 5432

export async function lendSession(client: Client, options: LendingOptions): Promise<LentSession> {
  const parameters = await reportedParameters(client)
  const folder = await mkdtemp(join(tmpdir(), 'dbbak-'))
  const unregister = guardian().folder(folder)
  const loan = new Loan(client, options, parameters)
  const server = createServer((socket) => loan.welcome(socket))
  await listen(server, join(folder, `.s.PGSQL.${port}`))
  const close = async () => {
    server.close()
    loan.end()
    await rm(folder, {recursive: true, force: true})
    unregister()
  }
  return {
    environment: {PGHOST: folder, PGPORT: String(port), PGSSLMODE: 'disable'},
    async takeBack() {
      await close()
      if (!loan.endedWell) {
        await endHard(client)
        throw new DbbakError('CONNECTION_LOST', 'The session ended in the middle of the restore.')
      }
    },
    async abandon() {
      await close()
      await endHard(client)
    },
  }
}

/** What a server reports at the start of a session; tools ask their libpq for these and not the server. */
async function reportedParameters(client: Client): Promise<Record<string, string>> {
  const names = [
    'server_version',
    'server_encoding',
    'client_encoding',
    'is_superuser',
    'session_authorization',
    'DateStyle',
    'IntervalStyle',
    'TimeZone',
    'integer_datetimes',
    'standard_conforming_strings',
  ]
  const columns = names.map((name) => `pg_catalog.current_setting('${name}') as "${name}"`)
  const {rows} = await client.query<Record<string, string>>(`select ${columns.join(', ')}`)
  return rows[0] ?? {}
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
}

/** pg keeps the socket in `client.connection.stream`; its own reader is taken off while the session is lent. */
function socketOf(client: Client): Socket {
  return (client as unknown as {connection: {stream: Socket}}).connection.stream
}

async function endHard(client: Client): Promise<void> {
  const socket = socketOf(client)
  if (socket.destroyed) return
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.destroy()
  await closed
}

type Listener = (chunk: Buffer) => void

class Loan {
  /** No tool in it, and the server has answered all that it was asked. */
  endedWell = true
  private readonly session: Socket
  private readonly ownReaders: Listener[]
  private borrower: Socket | undefined

  constructor(
    client: Client,
    private readonly options: LendingOptions,
    private readonly parameters: Record<string, string>,
  ) {
    this.session = socketOf(client)
    this.ownReaders = this.session.listeners('data') as Listener[]
    for (const reader of this.ownReaders) this.session.off('data', reader)
    this.session.once('close', () => this.borrower?.destroy())
  }

  private get status(): 'I' | 'T' {
    return this.options.inTransaction ? 'T' : 'I'
  }

  /** Answers a connection's first messages; one borrower at a time, one after the other. */
  welcome(socket: Socket): void {
    let bytes = Buffer.alloc(0)
    socket.on('error', () => socket.destroy())
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      const {kind, length} = readStartup(bytes)
      if (kind === 'incomplete') return
      bytes = bytes.subarray(length)
      if (kind === 'refuse-encryption') return void socket.write('N')
      socket.off('data', onData)
      if (kind !== 'start' || this.borrower) return void socket.destroy()
      socket.write(greeting(this.parameters, this.status))
      this.connect(socket, bytes)
    }
    socket.on('data', onData)
  }

  private connect(socket: Socket, first: Buffer): void {
    this.borrower = socket
    this.endedWell = false
    const messages = new ClientMessages({
      passQuery: (sql) => this.passQuery(sql, socket),
      goodbye: () => {
        this.endedWell = true
      },
    })
    if (first.length > 0) messages.write(first)
    socket.pipe(messages).pipe(this.session, {end: false})
    this.session.pipe(socket, {end: false})
    socket.once('close', () => {
      messages.unpipe(this.session)
      this.session.unpipe(socket)
      this.borrower = undefined
    })
  }

  private passQuery(sql: string, socket: Socket): boolean {
    const standIn = this.transactionCommand(sql) ?? this.options.standIn?.(sql)
    if (standIn === undefined) return true
    // The tool waits for this answer before it says anything else, so nothing of the server's can be in between.
    socket.write(Buffer.concat([message('C', standIn), readyForQuery(this.status)]))
    return false
  }

  private transactionCommand(sql: string): StandIn {
    if (!this.options.inTransaction) return undefined
    return /^\s*(BEGIN|COMMIT|START TRANSACTION|END)\s*;?\s*$/i.exec(sql)?.[1]?.toUpperCase()
  }

  end(): void {
    this.borrower?.destroy()
    for (const reader of this.ownReaders) this.session.on('data', reader)
    this.session.resume()
  }
}
