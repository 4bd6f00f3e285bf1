import {DbbakError} from '../support/errors.js'

/** Kept by a local destination for unfinished files; no object may lie in it. */
export const workFolderName = '.dbbak-work'

/**
 * Refuses a key that is not a plain relative path: one that is absolute, has an empty, `.` or `..` part, a
 * control character, a backslash or a drive letter, is too long, or would lie in the work folder.
 * @throws DbbakError OBJECT_NAME_INVALID
 */
export function checkObjectName(key: string, platform: NodeJS.Platform = process.platform): void {
  const fault = faultOf(key, platform)
  if (fault === undefined) return
  throw new DbbakError(
    'OBJECT_NAME_INVALID',
    `${JSON.stringify(shortened(key))} cannot be an object's name: ${fault}.`,
    {
      suggestions: [
        'Use a relative name of plain parts with / between them, such as shop.dump or shop.dir/toc.dat.',
      ],
    },
  )
}

/** Whether a provider would take this key. */
export function isObjectName(key: string, platform: NodeJS.Platform = process.platform): boolean {
  return faultOf(key, platform) === undefined
}

const keyBytesMax = 1024
const partBytesMax = 255

function faultOf(key: string, platform: NodeJS.Platform): string | undefined {
  if (key === '') return 'it is empty'
  if (!key.isWellFormed()) return 'it is not valid Unicode'
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f\\]/.test(key)) return 'it holds a control character or a backslash'
  if (key.startsWith('/') || /^[A-Za-z]:/.test(key)) return 'it leads outside the destination'
  if (Buffer.byteLength(key) > keyBytesMax) return `it is longer than ${keyBytesMax} bytes`
  const parts = key.split('/')
  if (parts[0]?.toLowerCase() === workFolderName) return `${workFolderName} is kept for unfinished files`
  for (const part of parts) {
    const fault = faultOfPart(part) ?? (platform === 'win32' ? faultOnWindows(part) : undefined)
    if (fault !== undefined) return fault
  }
  return undefined
}

function faultOfPart(part: string): string | undefined {
  if (part === '') return 'it has an empty part'
  if (part === '.' || part === '..') return 'it leads outside the destination'
  if (Buffer.byteLength(part) > partBytesMax) return `a part of it is longer than ${partBytesMax} bytes`
  return undefined
}

/** A colon would open a hidden stream of another file, a device name would open the device. */
function faultOnWindows(part: string): string | undefined {
  if (/[<>:"|?*]/.test(part)) return 'it holds a character that Windows does not allow'
  if (/[. ]$/.test(part)) return 'a part of it ends with a dot or a space, which Windows drops'
  if (/^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(part))
    return 'a part of it is the name of a Windows device'
  return undefined
}

function shortened(key: string): string {
  return key.length > 120 ? `${key.slice(0, 120)}…` : key
}
