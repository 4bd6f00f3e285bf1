/** How requests to any object store are made. */
export interface RequestOptions {
  /** How long a request is tried again while none succeeds; a store that never answered yet gets less. */
  retryForMs: number
  /** A connection on which nothing moves for so long is given up, and the request tried again. */
  stallMs: number
  /** The environment that credentials and proxies are looked up in. */
  env: Record<string, string | undefined>
}

export interface S3Options {
  endpoint?: string | undefined
  region?: string | undefined
  /** The bucket in the path instead of the host name; by default where an endpoint is given. */
  pathStyle?: boolean | undefined
  /** Without them the SDK's default chain: environment, profile, SSO, web identity, container, instance role. */
  credentials?: {accessKeyId: string; secretAccessKey: string; sessionToken?: string | undefined} | undefined
  storageClass?: string | undefined
  /** `aws:kms` may name a key. */
  encryption?: 'AES256' | 'aws:kms' | 'aws:kms:dsse' | undefined
  kmsKeyId?: string | undefined
  objectLock?: {mode: 'GOVERNANCE' | 'COMPLIANCE'; days: number} | undefined
  tags?: Record<string, string> | undefined
  /** 10,000 by default; some stores take only 1,000. */
  partsMax?: number | undefined
}

export interface GcsOptions {
  /** `STORAGE_EMULATOR_HOST`: requests go there, without credentials. */
  emulator?: string | undefined
  /** Instead of `https://storage.googleapis.com`, e.g. of Private Service Connect; with credentials. */
  endpoint?: string | undefined
  /** A key file instead of the application default credentials. */
  keyFile?: string | undefined
  projectId?: string | undefined
  storageClass?: string | undefined
  kmsKeyName?: string | undefined
}

export interface AzureOptions {
  /** With an account key or a SAS in it. */
  connectionString?: string | undefined
  /** Together with the default credential chain, or `sas`. */
  account?: string | undefined
  sas?: string | undefined
  /** Instead of `https://ACCOUNT.blob.core.windows.net`. */
  endpoint?: string | undefined
  tier?: 'Hot' | 'Cool' | 'Cold' | 'Archive' | undefined
}
