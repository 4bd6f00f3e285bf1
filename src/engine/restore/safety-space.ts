import type {ServerDescription} from '../../postgres/server.js'
import type {StorageProvider} from '../../storage/provider.js'
import type {Manifest} from '../manifest.js'
import type {Finding} from './findings.js'

/**
 * Whether a backup of the target fits where safety backups go, judged by how small the backup at hand is beside its
 * own database. A full disk would stop it too, but only after minutes.
 */
export async function checkSafetySpace(
  {database, files}: Manifest,
  {database: target}: Pick<ServerDescription, 'database'>,
  store: StorageProvider,
): Promise<Finding[]> {
  const freeBytes = await store.freeBytes?.()
  const archiveBytes = files.reduce((sum, {bytes}) => sum + bytes, 0)
  if (freeBytes === undefined || database.sizeBytes === 0) return []
  const expectedBytes = Math.round(target.sizeBytes * Math.min(1, archiveBytes / database.sizeBytes))
  if (expectedBytes <= freeBytes) return []
  const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`
  return [
    {
      code: 'SAFETY_SPACE',
      severity: 'error',
      message: `The safety backup needs some ${megabytes(expectedBytes)}, and ${store.describe()} has ${megabytes(freeBytes)} left.`,
      fix: 'Free space there, or let it go elsewhere: dbbak restore --safety-to DEST',
    },
  ]
}
