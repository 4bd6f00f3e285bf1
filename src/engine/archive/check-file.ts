import type {DigestResult} from '../../archive/digest.js'
import {DbbakError} from '../../support/errors.js'
import type {ArchiveFile} from '../manifest.js'

export const otherBackup = ['Use another backup: dbbak list', 'Take a new one now: dbbak backup']

/**
 * Holds what was read of a backup's file against its manifest.
 * @throws DbbakError ARCHIVE_SIZE_MISMATCH, CHECKSUM_MISMATCH
 */
export function checkFile(file: ArchiveFile, found: DigestResult): void {
  if (found.bytes !== file.bytes) throw otherSize(file, `${found.bytes} bytes`)
  if (found.sha256 === file.sha256) return
  throw new DbbakError(
    'CHECKSUM_MISMATCH',
    `${file.path} was changed or damaged since it was written: its SHA-256 is not the manifest's.`,
    {suggestions: otherBackup, details: {expected: file.sha256, found: found.sha256}},
  )
}

/** @param found how much it has */
export function otherSize({path, bytes}: ArchiveFile, found: string): DbbakError {
  return new DbbakError('ARCHIVE_SIZE_MISMATCH', `${path} has ${found}; its manifest says ${bytes}.`, {
    suggestions: otherBackup,
  })
}
