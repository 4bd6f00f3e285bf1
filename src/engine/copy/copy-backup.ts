import {isDeepStrictEqual} from 'node:util'
import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import type {ObjectInfo, StorageProvider} from '../../storage/provider.js'
import {DbbakError, messageOf} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'
import type {CatalogEntry} from '../catalog.js'
import {activity, type Events} from '../events.js'
import {maxManifestBytes, parseManifest, type ArchiveFile} from '../manifest.js'
import {globalsName, manifestName, verificationName} from '../naming.js'
import {severalAtATime} from '../several-at-a-time.js'
import {parseVerification} from '../verify/verification-record.js'
import {isSameFile, lookAt, removeForeign} from './at-target.js'
import {at, CopyFailure, hasErrorCode, type Side} from './copy-failure.js'
import {copyFile} from './copy-file.js'

export interface CopyDeps {
  events: Events
  signal: AbortSignal
  /** What the watcher is told is being done; "Copying <id>" by default. */
  activityName?: string
}

/** What became of a backup at one target. */
export type CopyOutcome =
  /** It is there now. `bytes`: so many were stored; fewer than it has where an earlier copy was cut off. */
  | {status: 'copied'; bytes: number}
  | {status: 'skipped'; reason: string}
  /** Skipped too, because the source has it no more. */
  | {status: 'vanished'; reason: string}
  | {status: 'failed'; error: DbbakError; side: Side}

interface Run {
  source: StorageProvider
  target: StorageProvider
  entry: CatalogEntry
  deps: CopyDeps
  /** Byte for byte as it is at the source. */
  manifest: Buffer
  /** What this run has stored, and removes again when the copy fails. */
  stored: ArchiveFile[]
  /** Bytes that were copied or compared. */
  doneBytes: number
  /** Files lay at the target already: another copy may be at work there. */
  metOthers: boolean
}

/** Files of a directory-format backup are copied so many at a time. */
const filesAtOnce = 4

const thereAlready: CopyOutcome = {status: 'skipped', reason: 'it is there already'}
export const vanishedReason = 'it was removed at the source meanwhile'
const vanished: CopyOutcome = {status: 'vanished', reason: vanishedReason}

/**
 * Copies one backup: the archive, the globals, then the manifest, with which the copy exists, then the verification
 * result, whose verdict holds for equal bytes. Nothing that the target has a manifest for is changed. A copy that fails
 * leaves nothing of its own; what a killed one left is compared, and used by the next.
 * @param entry of the source's catalog, so that its manifest was held to schema and names
 * @throws the signal's reason when aborted
 */
export async function copyBackup(
  source: StorageProvider,
  target: StorageProvider,
  entry: CatalogEntry,
  deps: CopyDeps,
): Promise<CopyOutcome> {
  try {
    const manifest = await at('source', source, () => readSourceManifest(source, entry))
    if (manifest === undefined) return vanished
    const {hasManifest, absent} = await at('target', target, () => lookAt(target, entry))
    if (hasManifest && absent.length === 0) return thereAlready
    const run: Run = {source, target, entry, deps, manifest, stored: [], doneBytes: 0, metOthers: false}
    const name = deps.activityName ?? `Copying ${entry.manifest.id}`
    return await activity(deps.events, name, () => copyOrLeaveNothing(run, hasManifest))
  } catch (error) {
    deps.signal.throwIfAborted()
    if (!(error instanceof CopyFailure)) throw error
    if (error.side === 'target' || error.error.code !== 'OBJECT_NOT_FOUND') return failed(error)
    return missingAtSource(source, entry, error)
  }
}

const failed = ({side, error}: CopyFailure): CopyOutcome => ({
  status: 'failed',
  side,
  error: error.during(side === 'source' ? 5 : 8),
})

/** @returns undefined where it is gone @throws DbbakError MANIFEST_INVALID where it is not what was listed */
async function readSourceManifest(
  source: StorageProvider,
  {archive, manifest}: CatalogEntry,
): Promise<Buffer | undefined> {
  const key = manifestName(archive)
  const bytes = await readSmall(source, key)
  if (bytes === undefined || isDeepStrictEqual(parseManifest(bytes.toString('utf8'), key), manifest))
    return bytes
  throw new DbbakError('MANIFEST_INVALID', `${key} was changed while it was copied.`, {
    suggestions: [`See what there is: dbbak list --from ${shellWord(source.describe())}`],
  })
}

async function readSmall(store: StorageProvider, key: string): Promise<Buffer | undefined> {
  try {
    return await buffer(await store.get(key, {end: maxManifestBytes}))
  } catch (error) {
    if (error instanceof DbbakError && error.code === 'OBJECT_NOT_FOUND') return undefined
    throw error
  }
}

/** A removal takes the manifest first: where that is still there, the backup is not whole. */
async function missingAtSource(
  source: StorageProvider,
  {archive}: CatalogEntry,
  failure: CopyFailure,
): Promise<CopyOutcome> {
  const isGone = await source.head(manifestName(archive)).then(
    (found) => found === undefined,
    () => false, // nobody knows
  )
  if (isGone) return vanished
  return failed(
    new CopyFailure(
      'source',
      new DbbakError('ARCHIVE_MISSING', `${failure.message} The manifest of ${archive} names it.`, {
        cause: failure.error,
        suggestions: [
          `See which backups there are whole: dbbak verify --all --level checksum --from ${shellWord(source.describe())}`,
        ],
      }),
    ),
  )
}

async function copyOrLeaveNothing(run: Run, hasManifest: boolean): Promise<CopyOutcome> {
  try {
    await placeMissing(run)
    if (!hasManifest && !(await putManifest(run))) return thereAlready
    // Another copy may have failed meanwhile and removed what this one took for granted.
    if (run.metOthers) await placeMissing(run)
    if (!hasManifest) await copyVerification(run)
    return {status: 'copied', bytes: run.stored.reduce((sum, {bytes}) => sum + bytes, 0)}
  } catch (error) {
    await discardStored(run)
    throw error
  }
}

/** Copies what is not there until nothing is missing: another copy may put and remove files at the same time. */
async function placeMissing(run: Run): Promise<void> {
  const {target, entry} = run
  const proven = new Set<string>(run.stored.map(({path}) => path))
  for (let round = 1; ; round++) {
    const there = await at('target', target, () => lookAt(target, entry))
    const missing = new Set(there.absent.map(({path}) => path))
    const open = entry.manifest.files.filter(
      ({path}) => missing.has(path) || (there.unclaimed.has(path) && !proven.has(path)),
    )
    if (open.length === 0) return
    if (round > roundsMax) throw keepsVanishing(run, open)
    const isGlobals = ({path}: ArchiveFile) => path === globalsName(entry.manifest.id)
    for (const files of [open.filter((file) => !isGlobals(file)), open.filter(isGlobals)])
      await severalAtATime(
        files,
        filesAtOnce,
        (file, signal) => placeFile(run, file, there.unclaimed.get(file.path), signal),
        run.deps.signal,
      )
    for (const {path} of open) proven.add(path)
  }
}

const roundsMax = 5

function keepsVanishing({target}: Run, open: ArchiveFile[]): CopyFailure {
  return new CopyFailure(
    'target',
    new DbbakError(
      'OBJECT_NOT_FOUND',
      `${open[0]?.path} was removed at ${target.describe()} again and again while it was copied.`,
      {suggestions: ['Let no other dbbak copy or prune the same destination at the same time.']},
    ),
  )
}

/** @param found what lies there under the file's name, as far as is known */
async function placeFile(
  run: Run,
  file: ArchiveFile,
  found: ObjectInfo | undefined,
  signal: AbortSignal,
): Promise<void> {
  const {source, target, entry} = run
  for (let there = found, attempt = 1; ; attempt++) {
    if (there !== undefined && (await isProven(run, there, file, signal))) return
    if (there !== undefined) await at('target', target, () => removeForeign(target, entry, there!))
    try {
      await copyFile({source, target, file, signal, onBytes: (bytes) => progress(run, bytes, file)})
      run.stored.push(file)
      return
    } catch (error) {
      if (!hasErrorCode(error, 'OBJECT_EXISTS') || attempt === attemptsMax) throw error
    }
    there = await at('target', target, () => target.head(file.path))
  }
}

const attemptsMax = 3

async function isProven(
  run: Run,
  found: ObjectInfo,
  file: ArchiveFile,
  signal: AbortSignal,
): Promise<boolean> {
  const {target} = run
  run.metOthers = true
  try {
    const isSame = await isSameFile(target, found, file, signal)
    if (isSame) progress(run, file.bytes, file)
    return isSame
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof DbbakError && error.code === 'OBJECT_NOT_FOUND') return false // removed meanwhile
    return at('target', target, () => Promise.reject(error as Error))
  }
}

function progress(run: Run, bytes: number, {path}: ArchiveFile): void {
  const {files} = run.entry.manifest
  run.doneBytes += bytes
  run.deps.events.activityProgress?.({
    bytes: run.doneBytes,
    totalBytes: files.reduce((sum, file) => sum + file.bytes, 0),
    ...(files.length > 1 ? {object: path.slice(path.lastIndexOf('/') + 1)} : {}),
  })
}

/** @returns false where another copy has put it at the same moment: the backup is there, by that one */
async function putManifest(run: Run): Promise<boolean> {
  const {target, entry, manifest, deps} = run
  const options = {signal: deps.signal, readOften: true}
  for (let attempt = 1; ; attempt++) {
    try {
      await at('target', target, () =>
        target.put(manifestName(entry.archive), Readable.from([manifest]), options),
      )
      return true
    } catch (error) {
      if (!hasErrorCode(error, 'OBJECT_EXISTS') || attempt === attemptsMax) throw error
    }
    const {hasManifest} = await at('target', target, () => lookAt(target, entry)) // fails where it is another's
    if (!hasManifest) continue
    await placeMissing(run)
    return false
  }
}

/** Best effort: the backup is there, and can be verified again. */
async function copyVerification({source, target, entry, deps}: Run): Promise<void> {
  if (entry.verification === null) return
  const key = verificationName(entry.archive)
  try {
    const bytes = await readSmall(source, key)
    if (bytes === undefined || parseVerification(bytes.toString('utf8')).id !== entry.manifest.id) return
    await target.put(key, Readable.from([bytes]), {signal: deps.signal, overwrite: true, readOften: true})
  } catch (error) {
    deps.signal.throwIfAborted()
    deps.events.warning?.({
      code: 'VERIFICATION_NOT_KEPT',
      message: `${entry.archive} was copied without its verification result: ${messageOf(error)}`,
    })
  }
}

/** Only what belongs to no backup: a manifest may have been put by another copy, or by this one at the last moment. */
async function discardStored({target, entry, stored}: Run): Promise<void> {
  try {
    if (await target.head(manifestName(entry.archive))) return
    for (let file = stored.pop(); file !== undefined; file = stored.pop()) await target.remove(file.path)
  } catch {
    // The first error matters more; list --incomplete shows what is left, and the next copy uses it.
  }
}
