import {parseDestination} from '../../storage/open-provider.js'
import type {Environment} from '../config-file.js'
import type {InitPlan, Variable} from './plan.js'

type Needs = Pick<InitPlan, 'destinations' | 'usesTestServer'>

/** The variables that backups need with these choices; those that clouds can do without are not among them. */
export function variablesFor({destinations, usesTestServer}: Needs, env: Environment): Variable[] {
  const kinds = new Set(destinations.map((destination) => parseDestination(destination).kind))
  const needed: [name: string, purpose: string, isSecret: boolean, isNeeded: boolean][] = [
    ['DATABASE_URL', 'The database: postgresql://user:password@host:5432/database', true, true],
    ['TEST_DATABASE_URL', 'The server for restore tests; never production', true, usesTestServer],
    ['AWS_ACCESS_KEY_ID', 'The key for s3://; not needed with a role of the machine', true, kinds.has('s3')],
    ['AWS_SECRET_ACCESS_KEY', 'Its secret', true, kinds.has('s3')],
    ['AWS_REGION', "The bucket's region, for example eu-central-1", false, kinds.has('s3')],
    [
      'AWS_ENDPOINT_URL_S3',
      'The address of an S3-compatible store',
      false,
      kinds.has('s3') && Boolean(env.AWS_ENDPOINT_URL_S3),
    ],
    [
      googleKey,
      "The path of a service account's key file; not needed with a role of the machine",
      false,
      kinds.has('gs'),
    ],
    ['AZURE_STORAGE_CONNECTION_STRING', 'The storage account of azblob://', true, kinds.has('azblob')],
    [
      'AZURE_STORAGE_ACCOUNT',
      'The name of the storage account, with a role of the machine',
      false,
      kinds.has('azblob') && Boolean(env.AZURE_STORAGE_ACCOUNT),
    ],
  ]
  return needed
    .filter(([, , , isNeeded]) => isNeeded)
    .map(([name, purpose, isSecret]) => ({
      name,
      purpose,
      isSecret,
      isOptional: !name.endsWith('DATABASE_URL'),
      isSet: Boolean(env[name]),
    }))
}

/** It names a file, which has to be where the run is. */
export const googleKey = 'GOOGLE_APPLICATION_CREDENTIALS'
