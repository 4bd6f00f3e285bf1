import {createRequire} from 'node:module'

const {version} = createRequire(import.meta.url)('../../package.json') as {version: string}

/** This dbbak's own version, as manifests name it. */
export const dbbakVersion = version
