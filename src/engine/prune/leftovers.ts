import type {ObjectInfo} from '../../storage/provider.js'
import {manifestEnding} from '../naming.js'

/** Objects of one run that has failed or was cut off, or of one doctor. */
export interface LeftoverGroup {
  /** With what all its objects' keys begin, and nobody else's. */
  prefix: string
  /** What the run's backup would have been called before the time; null for a doctor's. */
  namePrefix: string | null
  objects: ObjectInfo[]
  reason: string
}

/** `<prefix>_<time>`: what `backupId` makes. */
const id = String.raw`((?![.-])[\p{L}\p{N}._-]+)_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z`
const packed = String.raw`(?:\.(?:zst|gz|lz4))?(?:\.(?:age|gpg))?`
const dumpFile = String.raw`(?:toc\.dat|blobs(?:_\d+)?\.toc|(?:blob_)?\d+\.dat)${packed}`
const archive = String.raw`(?:\.dump|\.sql|\.dir)${packed}`
/** An archive's file, one of its folder, its verification result, or globals. Never a manifest. */
const ourFile = new RegExp(
  `^(${id})(?:${archive}(?:\\.verification\\.json)?|\\.dir${packed}/${dumpFile}|\\.globals\\.sql${packed})$`,
  'u',
)
const doctorFile = /^(?:(dbbak-doctor-[0-9a-f]{12}\/).+|(\.dbbak-doctor-[0-9a-f]{12}))$/

const dayMs = 86_400_000
/** Slower than any upload that anybody would wait for, in bytes a millisecond: 1 MB/s. */
const slowestUpload = 1000

/**
 * Finds what failed and cut-off runs left, among the objects that no manifest names.
 *
 * Only what bears a name that dbbak gives, at the top of the destination or in an archive's own folder, and of whose
 * run nothing is a manifest, not even a damaged one. Other people's files, and whole destinations that lie in a folder
 * below this one, are nothing of ours.
 *
 * A backup that runs at this moment looks the same: its archive is there before its manifest. It is told by its age:
 * the youngest of its objects has to be older than a day. For a folder of files, the first of which may be days old,
 * that is the newest file. A store (S3) may date an object by the moment its upload began; where the destination is
 * no folder, the time that the upload may have taken is given on top of the day.
 * @param objects everything at the destination
 */
export function findLeftovers(
  unclaimed: readonly {key: string}[],
  objects: ReadonlyMap<string, ObjectInfo>,
  now: Date,
): LeftoverGroup[] {
  const manifests = [...objects.keys()].filter((key) => key.endsWith(manifestEnding))
  const groups = new Map<string, LeftoverGroup>()
  for (const {key} of unclaimed) {
    const object = objects.get(key)
    const place = placeOf(key)
    if (object === undefined || place === undefined) continue
    const group = groups.get(place.prefix) ?? {...place, objects: []}
    group.objects.push(object)
    groups.set(place.prefix, group)
  }
  const taken = new Set(manifests.flatMap(prefixesOf))
  return [...groups.values()].filter(
    (group) => !taken.has(group.prefix) && group.objects.every((object) => isOld(object, now)),
  )
}

function placeOf(key: string): Omit<LeftoverGroup, 'objects'> | undefined {
  const [, run, namePrefix] = ourFile.exec(key) ?? []
  if (run !== undefined && namePrefix !== undefined)
    return {prefix: `${run}.`, namePrefix, reason: 'a run that was cut off left it: it has no manifest'}
  const [, folder, file] = doctorFile.exec(key) ?? []
  const prefix = folder ?? file
  return prefix === undefined
    ? undefined
    : {prefix, namePrefix: null, reason: 'a doctor that was cut off left it'}
}

/** The run's that a manifest is of, or in whose folder it lies: that is a destination of its own then. */
function prefixesOf(manifest: string): string[] {
  const [, run] = new RegExp(`^(${id})\\.`, 'u').exec(manifest) ?? []
  return run === undefined ? [] : [`${run}.`]
}

export function isOld({modifiedAt, size, etag}: ObjectInfo, now: Date): boolean {
  const uploadMs = etag === undefined ? 0 : size / slowestUpload
  return now.getTime() - modifiedAt.getTime() > dayMs + uploadMs
}

/** What a backup's name begins with, before the time; undefined where it is none of ours. */
export function namePrefixOf(backupId: string): string | undefined {
  return new RegExp(`^${id}$`, 'u').exec(backupId)?.[1]
}
