export type {Operation} from './call.js'
export type {Fault} from './faults.js'
export {startGcsServerProcess, type GcsServerProcess} from './process.js'
export {GcsServer, type GcsServerOptions, type SeenRequest} from './server.js'
import {GcsServer, type GcsServerOptions} from './server.js'

/** In this process, on a free port of 127.0.0.1. */
export function startGcsServer(options?: GcsServerOptions): Promise<GcsServer> {
  return GcsServer.start(options)
}
