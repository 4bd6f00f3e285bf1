import {spawnSync} from 'node:child_process'
import {randomBytes} from 'node:crypto'
import type {S3Address} from '../s3-server.js'

/** Whether there is a Docker here that could run what stands in for Ceph. */
export function dockerWorks(): boolean {
  return spawnSync('docker', ['info'], {stdio: 'ignore', timeout: 20_000}).status === 0
}

export async function startMinio(): Promise<{address: S3Address; container: string}> {
  const {GenericContainer, Wait} = await import('testcontainers')
  const [accessKeyId, secretAccessKey] = [randomBytes(10).toString('hex'), randomBytes(20).toString('hex')]
  const container = await new GenericContainer('minio/minio')
    .withEnvironment({MINIO_ROOT_USER: accessKeyId, MINIO_ROOT_PASSWORD: secretAccessKey})
    .withCommand(['server', '/data'])
    .withExposedPorts(9000)
    .withWaitStrategy(Wait.forHttp('/minio/health/ready', 9000))
    .start()
  const endpoint = `http://${container.getHost()}:${container.getMappedPort(9000)}`
  return {
    address: {endpoint, region: 'us-east-1', accessKeyId, secretAccessKey},
    container: container.getId(),
  }
}
