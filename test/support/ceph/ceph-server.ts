import {CreateBucketCommand, S3Client} from '@aws-sdk/client-s3'
import {execFile} from 'node:child_process'
import {randomBytes} from 'node:crypto'
import {existsSync, readFileSync} from 'node:fs'
import {createServer, type AddressInfo} from 'node:net'
import {delimiter, join} from 'node:path'
import {promisify} from 'node:util'
import {until} from '../processes.js'
import type {S3Address, S3Server, S3User} from '../s3-server.js'

const run = promisify(execFile)
const script = join(import.meta.dirname, 'cluster.sh')
const programs = ['ceph', 'ceph-authtool', 'ceph-mon', 'ceph-osd', 'monmaptool', 'radosgw', 'radosgw-admin']

/** The programs that are not installed here. */
export function missingCephPrograms(): string[] {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return programs.filter((name) => !folders.some((folder) => existsSync(join(folder, name))))
}

/**
 * Starts a Ceph cluster in a folder that does not exist yet.
 * @param owner the process with which it ends at the latest
 */
export async function startCeph(folder: string, owner: number): Promise<S3Address> {
  const accessKeyId = randomBytes(10).toString('hex').toUpperCase()
  const secretAccessKey = randomBytes(20).toString('hex')
  const [monitor, gateway] = await freePorts(2)
  const args = ['start', folder, owner, monitor, gateway, accessKeyId, secretAccessKey].map(String)
  try {
    await run(script, args)
  } catch (error) {
    await stopCeph(folder)
    throw error
  }
  return {endpoint: `http://127.0.0.1:${gateway}`, region: 'us-east-1', accessKeyId, secretAccessKey}
}

export async function stopCeph(folder: string): Promise<void> {
  await run(script, ['stop', folder])
}

/** What can be done with a cluster that runs in a folder, also from another process than the one that started it. */
export function cephServer(folder: string, address: S3Address): S3Server {
  const signal = (name: string, which: NodeJS.Signals) => {
    process.kill(Number(readFileSync(join(folder, `${name}.pid`), 'utf8')), which)
  }
  return {
    ...address,
    kind: 'ceph',
    makeBucket: (name, options) => makeBucket(address, name, options),
    newUser: () => newUser(folder),
    pause: () => signal('osd', 'SIGSTOP'),
    resume: () => signal('osd', 'SIGCONT'),
    kill: async () => {
      signal('gateway', 'SIGKILL')
      await until(() => isClosed(address.endpoint), 'the gateway is gone')
    },
    restart: async () => {
      await run(script, ['gateway', folder])
    },
    stop: () => stopCeph(folder),
  }
}

export async function makeBucket(
  {endpoint, region, accessKeyId, secretAccessKey}: S3Address,
  name = `test-${randomBytes(8).toString('hex')}`,
  {objectLock = false} = {},
): Promise<string> {
  const credentials = {accessKeyId, secretAccessKey}
  const client = new S3Client({endpoint, region, credentials, forcePathStyle: true})
  await client.send(new CreateBucketCommand({Bucket: name, ObjectLockEnabledForBucket: objectLock}))
  client.destroy()
  return name
}

async function newUser(folder: string): Promise<S3User> {
  const uid = `user-${randomBytes(6).toString('hex')}`
  const admin = async (...args: string[]) => {
    const common = ['-c', join(folder, 'ceph.conf'), '-n', 'client.gateway']
    return (await run('radosgw-admin', [...common, ...args, `--uid=${uid}`])).stdout
  }
  const made = JSON.parse(await admin('user', 'create', '--display-name=user')) as {
    keys: [{access_key: string; secret_key: string}]
  }
  const [{access_key: accessKeyId, secret_key: secretAccessKey}] = made.keys
  return {
    uid,
    accessKeyId,
    secretAccessKey,
    suspend: async () => void (await admin('user', 'suspend')),
    resume: async () => void (await admin('user', 'enable')),
    setQuota: async (bytes) => {
      await admin('quota', 'set', '--quota-scope=user', `--max-size=${bytes}`)
      await admin('quota', 'enable', '--quota-scope=user')
    },
  }
}

async function isClosed(endpoint: string): Promise<boolean> {
  return fetch(endpoint).then(
    () => false,
    () => true,
  )
}

/** Held all at once, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({length: count}, listening))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  for (const server of servers) server.close()
  return ports
}

async function listening() {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}
