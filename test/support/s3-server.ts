import {mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {basename, join} from 'node:path'
import {cephServer, makeBucket, missingCephPrograms, startCeph} from './ceph/ceph-server.js'
import {dockerWorks, startMinio} from './ceph/minio-server.js'
import {isAlive, until} from './processes.js'

export interface S3Credentials {
  accessKeyId: string
  secretAccessKey: string
}

export interface S3Address extends S3Credentials {
  endpoint: string
  region: string
}

export interface S3User extends S3Credentials {
  /** As bucket policies name it: `arn:aws:iam:::user/UID`. */
  uid: string
  suspend(): Promise<void>
  resume(): Promise<void>
  /** The most that all objects of the user may hold together. */
  setQuota(bytes: number): Promise<void>
}

/** An S3 server for tests. What only Ceph can do throws on the others. */
export interface S3Server extends S3Address {
  kind: 'ceph' | 'minio' | 'external'
  /** @returns its name; an external endpoint has one bucket only, which is given each time */
  makeBucket(name?: string, options?: {objectLock?: boolean}): Promise<string>
  newUser(): Promise<S3User>
  /** From now on nothing is read or written, while connections stay open. */
  pause(): void
  resume(): void
  /** Ends what listens, by SIGKILL; the data stays. */
  kill(): Promise<void>
  /** Starts it again. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/** What the worker that started the shared server writes for the others. */
interface Ready {
  address: S3Address
  container?: string
}

/** Why there is no S3 server to be had here; undefined when there is. For `needs`. */
export function missingS3Server(): string | undefined {
  const missing = missingCephPrograms()
  if (external() || missing.length === 0 || dockerWorks()) return undefined
  return `neither Docker nor Ceph (${missing.join(', ')}), and DBBAK_TEST_S3_ENDPOINT is not set`
}

/** Why there is no Ceph here, for tests of what only it can do. */
export function missingCeph(): string | undefined {
  if (external()) return 'DBBAK_TEST_S3_ENDPOINT names another server'
  const missing = missingCephPrograms()
  return missing.length > 0 ? `not installed: ${missing.join(', ')}` : undefined
}

/**
 * The server of this test run: started by whoever asks first, stopped at the run's end. It is for tests that leave it
 * running; those that do not start one of their own.
 */
export async function sharedS3Server(): Promise<S3Server> {
  const given = external()
  if (given) return externalServer(given.address, given.bucket)
  const folder = sharedFolder()
  if (!folder) throw new Error('Outside of a test run there is no server to share.')
  const {address, container} = await startedOnce(folder)
  return container === undefined ? cephServer(join(folder, 'ceph'), address) : minioServer(address)
}

/** One of its own, which the test stops. */
export async function startS3Server(): Promise<S3Server> {
  const parent = mkdtempSync(join(tmpdir(), 'ceph-'))
  const folder = join(parent, 'ceph')
  const server = cephServer(folder, await startCeph(folder, process.pid))
  const stop = async () => {
    await server.stop()
    rmSync(parent, {recursive: true, force: true})
  }
  return {...server, stop}
}

function sharedFolder(): string | undefined {
  const run = process.env.DBBAK_TEST_RUN_FOLDER
  return run ? join(run, 's3-server') : undefined
}

async function startedOnce(folder: string): Promise<Ready> {
  if (!takeTurn(folder)) return waitForOther(folder)
  try {
    const ready = await startAny(folder)
    write(folder, 'ready', JSON.stringify(ready))
    return ready
  } catch (error) {
    write(folder, 'failed', String(error))
    throw error
  }
}

async function startAny(folder: string): Promise<Ready> {
  if (missingCephPrograms().length > 0) return startMinio()
  // Workers may end before the run does, so it belongs to the process that started them.
  const [, owner] = /^dbbak-test-(\d+)-/.exec(basename(join(folder, '..'))) ?? []
  return {address: await startCeph(join(folder, 'ceph'), Number(owner ?? process.ppid))}
}

/** Making a folder is a race with one winner. */
function takeTurn(folder: string): boolean {
  try {
    mkdirSync(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
  write(folder, 'starter', String(process.pid))
  return true
}

async function waitForOther(folder: string): Promise<Ready> {
  const ended = () => {
    const starter = read(folder, 'starter')
    return starter !== undefined && !isAlive(Number(starter))
  }
  const isOver = () => [readReady(folder), read(folder, 'failed')].some((text) => text !== undefined)
  await until(() => isOver() || ended(), 'the shared S3 server runs', 100_000)
  const ready = readReady(folder)
  if (ready) return ready
  throw new Error(`The shared S3 server did not start: ${read(folder, 'failed') ?? 'its starter ended'}`)
}

function readReady(folder: string): Ready | undefined {
  const text = read(folder, 'ready')
  return text === undefined ? undefined : (JSON.parse(text) as Ready)
}

function read(folder: string, name: string): string | undefined {
  try {
    return readFileSync(join(folder, name), 'utf8')
  } catch {
    return undefined
  }
}

/** Whole or not at all: others read at any moment. */
function write(folder: string, name: string, text: string): void {
  const path = join(folder, name)
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}

function external(): {address: S3Address; bucket: string} | undefined {
  const {env} = process
  const endpoint = env.DBBAK_TEST_S3_ENDPOINT
  if (!endpoint) return undefined
  const given = (name: string) => {
    const value = env[`DBBAK_TEST_S3_${name}`]
    if (!value) throw new Error(`DBBAK_TEST_S3_ENDPOINT is set, and DBBAK_TEST_S3_${name} is not.`)
    return value
  }
  const [accessKeyId, secretAccessKey] = [given('ACCESS_KEY_ID'), given('SECRET_ACCESS_KEY')]
  const region = env.DBBAK_TEST_S3_REGION ?? 'us-east-1'
  return {address: {endpoint, region, accessKeyId, secretAccessKey}, bucket: given('BUCKET')}
}

function externalServer(address: S3Address, bucket: string): S3Server {
  return {...address, ...onlyCeph, kind: 'external', makeBucket: async () => bucket}
}

function minioServer(address: S3Address): S3Server {
  return {
    ...address,
    ...onlyCeph,
    kind: 'minio',
    makeBucket: (name, options) => makeBucket(address, name, options),
  }
}

const cannot = (): never => {
  throw new Error('Only a Ceph server of the tests can do this.')
}
const onlyCeph = {
  newUser: cannot,
  pause: cannot,
  resume: cannot,
  kill: cannot,
  restart: cannot,
  stop: async () => {},
}
