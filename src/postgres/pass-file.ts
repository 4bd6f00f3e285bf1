import {readFile, stat} from 'node:fs/promises'

/** What a line of a password file is looked up by. */
export interface PassKey {
  host: string
  port: number
  database: string
  user: string
}

/** libpq's password file, read once; the password may differ for each host, database and user. */
export interface PassFile {
  path: string
  passwordFor(key: PassKey): string | undefined
  /** Why the file was not used although it is there. */
  warning?: string
}

/** Reads `.pgpass`. A missing file is an empty one; one that others may read is not used, as in libpq. */
export async function readPassFile(path: string): Promise<PassFile> {
  const unused = (warning?: string): PassFile => ({
    path,
    passwordFor: () => undefined,
    ...(warning === undefined ? {} : {warning}),
  })
  try {
    const {mode, isFile} = await status(path)
    if (!isFile) return unused(`The password file ${path} is not used: it is not a plain file.`)
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      return unused(`The password file ${path} is not used: others may read it. Run: chmod 600 ${path}`)
    }
    return passFile(path, await readFile(path, 'utf8'))
  } catch (error) {
    const {code} = error as NodeJS.ErrnoException
    return unused(
      code === 'ENOENT' || code === 'ENOTDIR'
        ? undefined
        : `The password file ${path} cannot be read (${code}).`,
    )
  }
}

async function status(path: string): Promise<{mode: number; isFile: boolean}> {
  const found = await stat(path)
  return {mode: found.mode, isFile: found.isFile()}
}

function passFile(path: string, text: string): PassFile {
  const entries = text
    .split(/\r?\n/)
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map(fieldsOf)
  return {
    path,
    passwordFor({host, port, database, user}) {
      const key = [host, String(port), database, user]
      const entry = entries.find(
        (fields) => fields.length >= 5 && key.every((part, i) => matches(fields[i]!, part)),
      )
      return entry === undefined ? undefined : plain(entry[4]!)
    },
  }
}

/** Cuts at each `:` that no backslash precedes; the fields keep their backslashes, since `\*` is not `*`. */
function fieldsOf(line: string): string[] {
  const fields: string[] = []
  let field = ''
  for (let at = 0; at < line.length; at++) {
    const character = line.charAt(at)
    if (character === ':') {
      fields.push(field)
      field = ''
    } else field += character === '\\' ? character + line.charAt(++at) : character
  }
  return [...fields, field]
}

const matches = (field: string, part: string): boolean => field === '*' || plain(field) === part

const plain = (field: string): string => field.replace(/\\([\s\S])/g, '$1')
