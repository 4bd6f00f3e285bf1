import {GcsServer} from './server.js'

// Run by process.ts, compiled: node main.js FOLDER PORT BUCKET
const [folder, port, bucket] = process.argv.slice(2)
const server = await GcsServer.start({folder, port: Number(port)})
if (bucket) {
  try {
    server.makeBucket(bucket)
  } catch {
    // It was there before a restart.
  }
}
process.stdout.write(`${server.endpoint}\n`)
