import {spawn, type ChildProcess} from 'node:child_process'
import {isAbsolute, normalize} from 'node:path'
import {DbbakError} from './errors.js'

/** `tool` is asked to end with SIGTERM, `postgres` with SIGQUIT (its shutdown without farewell). */
export type GroupKind = 'tool' | 'postgres'

/** Ends and removes what it was told about as soon as this process is gone, whatever ended it (SIGKILL too). */
export interface Guardian {
  /** Watches over a process group. @returns what to call once the group has ended */
  group(pgid: number, kind?: GroupKind): () => void
  /** Watches over a folder. @returns what to call once the folder is removed, or is to stay */
  folder(path: string): () => void
}

/**
 * The watchdog: reads `+entry` and `-entry` lines from a pipe that only our process holds. Its end means that our
 * process is gone: groups are asked to end, given five seconds, killed; then folders are removed. Descriptors that a
 * shell gave us (`3>file`) do not reach it: Node marks them so at its start.
 */
const watchdog = `
trap '' INT TERM HUP QUIT
while IFS= read -r line; do
  entry=\${line#?}
  case $line in
    +*) set -- "$@" "$entry" ;;
    -*) for each do shift; [ "$each" = "$entry" ] || set -- "$@" "$each"; done ;;
  esac
done
[ $# -gt 0 ] || exit 0
for each do
  case $each in
    'tool '*) kill -TERM "-\${each#tool }" ;;
    'postgres '*) kill -QUIT "-\${each#postgres }" ;;
  esac
done
tenths=0
while [ $tenths -lt 50 ]; do
  alive=
  for each do
    case $each in
      'tool '* | 'postgres '*) kill -0 "-\${each#* }" && alive=yes ;;
    esac
  done
  [ -n "$alive" ] || break
  sleep 0.1 || sleep 1
  tenths=$((tenths + 1))
done
for each do
  case $each in
    'tool '* | 'postgres '*) kill -KILL "-\${each#* }" ;;
  esac
done
for attempt in 1 2 3 4 5; do
  left=
  for each do
    case $each in
      'folder /'*/*) rm -rf -- "\${each#folder }" || left=yes ;;
    esac
  done
  [ -n "$left" ] || break
  sleep 1
done
`

/** Everywhere that a system keeps \`rm\` and \`sleep\`; nothing of our own environment, which may hold secrets. */
const programFolders = '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin'

/** On Windows there is no such watchdog; the next run sweeps. */
const absent: Guardian = {group: () => () => {}, folder: () => () => {}}

let running: Guardian | undefined

/** The guardian of this process; started when it is given its first entry. */
export function guardian(): Guardian {
  running ??= process.platform === 'win32' ? absent : createGuardian()
  return running
}

/** A guardian of its own, for tests of the guardian. */
export function createGuardian(): Guardian {
  const entries = new Set<string>()
  let child: ChildProcess | undefined
  const tell = (line: string) => child?.stdin?.write(line)
  const start = () => {
    const started = startWatchdog()
    started.once('exit', () => (child = undefined)) // somebody killed it: the next entry starts another
    started.once('error', () => (child = undefined)) // no /bin/sh: what a kill leaves is swept by the next run
    child = started
    for (const entry of entries) tell(`+${entry}\n`)
  }
  const watch = (entry: string) => {
    if (child) tell(`+${entry}\n`)
    entries.add(entry)
    if (!child) start()
    return () => {
      if (entries.delete(entry)) tell(`-${entry}\n`)
    }
  }
  return {
    group: (pgid, kind = 'tool') => watch(`${kind} ${checkedGroup(pgid)}`),
    folder: (path) => watch(`folder ${checkedFolder(path)}`),
  }
}

/** In a session of its own, so that a Ctrl-C or a closed terminal does not reach it. Never keeps our process alive. */
function startWatchdog(): ChildProcess {
  const child = spawn('/bin/sh', ['-c', watchdog, 'dbbak-guardian'], {
    cwd: '/',
    env: {PATH: programFolders},
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  child.unref()
  const {stdin} = child as {stdin: (NodeJS.WritableStream & {unref?(): void}) | null}
  stdin?.on('error', () => {}) // it was killed; 'exit' tells
  stdin?.unref?.()
  return child
}

/** Group 0 and 1 would be our own group and everything. */
function checkedGroup(pgid: number): number {
  if (Number.isSafeInteger(pgid) && pgid > 1) return pgid
  throw new DbbakError('INTERNAL', `Not a process group that could be watched: ${pgid}.`)
}

/** At least two levels below the root, spelt plainly, on one line. */
function checkedFolder(path: string): string {
  const plain = normalize(path).replace(/\/+$/, '')
  const safe = isAbsolute(path) && plain === path && plain.split('/').length > 2 && !/[\n\0]/.test(path)
  if (safe) return path
  throw new DbbakError('INTERNAL', `Not a folder that could be watched: ${JSON.stringify(path)}.`)
}
