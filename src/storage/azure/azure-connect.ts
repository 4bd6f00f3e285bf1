import {
  AnonymousCredential,
  BlobServiceClient,
  ContainerClient,
  newPipeline,
  type RequestPolicyFactory,
  type StoragePipelineOptions,
} from '@azure/storage-blob'
import {Readable} from 'node:stream'
import type {StoreAgents} from '../objects/agents.js'
import {StoreError} from '../objects/store-error.js'
import type {AzureOptions} from '../objects/store-options.js'
import {credentialSuggestions} from './azure-errors.js'

type Credential = Parameters<typeof newPipeline>[0]

/** One attempt a request; without `tryTimeoutInMs` there is no limit to how long it may take. */
const pipelineOptions: StoragePipelineOptions = {
  retryOptions: {maxTries: 1},
  userAgentOptions: {userAgentPrefix: 'dbbak'},
}

/**
 * The container, with the first credentials that there are: connection string, SAS, default chain.
 * @throws StoreError `credentials`
 */
export async function connectAzure(
  container: string,
  options: AzureOptions,
  agents: StoreAgents,
): Promise<ContainerClient> {
  const {url, credential} = await findAccess(container, options)
  const pipeline = newPipeline(credential, pipelineOptions)
  pipeline.factories.push(overAgents(agents))
  return new ContainerClient(url, pipeline)
}

interface Access {
  /** Of the container; with the SAS in it where that is what gives access. */
  url: string
  credential: Credential
}

async function findAccess(container: string, options: AzureOptions): Promise<Access> {
  if (options.connectionString) return accessByConnectionString(container, options.connectionString)
  const {sas} = options
  const url = `${endpointOf(options)}/${encodeURIComponent(container)}`
  if (sas) return {url: `${url}?${sas.trim().replace(/^\?/, '')}`, credential: new AnonymousCredential()}
  const {DefaultAzureCredential} = await import('@azure/identity')
  return {url, credential: new DefaultAzureCredential()}
}

function accessByConnectionString(container: string, connectionString: string): Access {
  try {
    const service = BlobServiceClient.fromConnectionString(connectionString.trim(), pipelineOptions)
    return {url: service.getContainerClient(container).url, credential: service.credential}
  } catch {
    // Without the cause: what the SDK and URL throw may hold the text, and with it the key.
    throw new StoreError('credentials', 'the connection string cannot be read', {
      suggestions: [
        'Copy it from the portal (Access keys), or: az storage account show-connection-string --name ACCOUNT',
        'It looks like DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…;EndpointSuffix=core.windows.net in AZURE_STORAGE_CONNECTION_STRING',
      ],
    })
  }
}

function endpointOf({account, endpoint}: AzureOptions): string {
  if (endpoint) return checkedEndpoint(endpoint)
  if (account === undefined || account === '')
    throw new StoreError('credentials', 'no storage account is named, and there is no connection string', {
      suggestions: credentialSuggestions,
    })
  // Anything else would lead to another host.
  if (!/^[a-z0-9]{3,24}$/.test(account))
    throw new StoreError(
      'credentials',
      `${JSON.stringify(account.slice(0, 40))} is not the name of a storage account`,
      {
        suggestions: [
          'Give the bare name, without a URL, in AZURE_STORAGE_ACCOUNT: 3 to 24 letters and digits.',
        ],
      },
    )
  return `https://${account}.blob.core.windows.net`
}

function checkedEndpoint(endpoint: string): string {
  const url = URL.parse(endpoint)
  const isPlain =
    url && /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '' && url.username === ''
  if (isPlain) return endpoint.replace(/\/+$/, '')
  throw new StoreError('credentials', 'the endpoint is not a plain https:// URL of a Blob service', {
    suggestions: [
      'It looks like https://ACCOUNT.blob.core.windows.net; a SAS goes into AZURE_STORAGE_SAS_TOKEN.',
    ],
  })
}

/** What the SDK is given for a body, and the body. */
const bodies = new WeakMap<object, Readable>()

/**
 * The body of an answer to `download`. The SDK's own stream over it tells of a broken connection as of an abort, or as
 * of corrupt data, so it gets another one to watch.
 */
export function bodyOf({_response: answer}: {_response: object}): Readable {
  const {readableStreamBody: given} = answer as {readableStreamBody?: object}
  const body = given && bodies.get(given)
  if (!body) throw new StoreError('failed', 'the Azure SDK gave no body')
  return body
}

/** Sends every request over our connections, which know when nothing moves on them. */
function overAgents(agents: StoreAgents): RequestPolicyFactory {
  return {
    create: (next) => ({
      async sendRequest(request) {
        request.agent = request.url.startsWith('https:') ? agents.https : agents.http
        const response = await next.sendRequest(request)
        const body = response.readableStreamBody
        if (body instanceof Readable) {
          const standIn = new Readable({read() {}})
          bodies.set(standIn, body)
          response.readableStreamBody = standIn
        }
        return response
      },
    }),
  }
}
