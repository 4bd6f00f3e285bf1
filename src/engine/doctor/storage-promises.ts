import {createHash, randomBytes} from 'node:crypto'
import {Readable} from 'node:stream'
import {DbbakError} from '../../support/errors.js'
import type {Trial} from './trial.js'

/** A promise of `StorageProvider`, and how to find out whether a destination keeps it. */
export interface StoragePromise {
  name: string
  /** @returns what was seen. @throws DbbakError when it is not kept */
  keep: (trial: Trial) => Promise<string>
  /** What it means where the destination does not allow it. */
  refused: {message: string; fix: string}
}

const mayNotRead = {
  message: 'may not read: list, verify and restore will not work with these credentials.',
  fix: 'Give them the right to read and to list, or use others for: dbbak verify --latest',
}
const mayNotReplace = {
  message: 'may not replace: verify keeps its first result of a backup only.',
  fix: 'Nothing needs to be done for backups; to keep later results too, allow replacing *.verification.json',
}
const mayNotRemove = {
  message: 'cannot delete: prune will not work here, and what failed runs leave stays.',
  fix: 'Let the destination expire old backups itself, or let prune run elsewhere with other credentials',
}

/** Each uses objects of its own, so that one that is broken says nothing of the others. */
export const storagePromises: StoragePromise[] = [
  {name: 'read after write', keep: readAfterWrite, refused: mayNotRead},
  {name: 'read a part', keep: readPart, refused: mayNotRead},
  {name: 'write once', keep: writeOnce, refused: mayNotRead},
  {name: 'overwrite', keep: overwrite, refused: mayNotReplace},
  {name: 'empty object', keep: emptyObject, refused: mayNotRead},
  {name: 'odd names', keep: oddNames, refused: mayNotRead},
  {name: 'order of a listing', keep: orderOfListing, refused: mayNotRead},
  {name: 'missing object', keep: missingObject, refused: mayNotRead},
  {name: 'stopped write', keep: stoppedWrite, refused: mayNotRead},
  {name: 'large object', keep: largeObject, refused: mayNotRead},
  {name: 'latency', keep: latency, refused: mayNotRead},
  {name: 'removal', keep: removal, refused: mayNotRemove},
]

const notThere = ['Do not keep backups there: dbbak backup --to ANOTHER']

/** @throws DbbakError unless it is so */
function hold(isKept: boolean, sentence: string, suggestions: string[] = notThere): void {
  if (!isKept) throw new DbbakError('DESTINATION_FAILED', sentence, {suggestions})
}

const code = (error: unknown): string | undefined => (error instanceof DbbakError ? error.code : undefined)

/** What something failed with; undefined where it did not. */
const failureOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error ?? new Error('It failed.'),
  )

async function readAfterWrite(trial: Trial): Promise<string> {
  const content = randomBytes(1024)
  const {size} = await trial.put('small', content)
  hold(size === content.length, `It says that it stored ${size} bytes of ${content.length}.`)
  hold((await trial.read('small')).equals(content), 'It gave back other bytes than were written to it.')
  hold(
    (await trial.head('small'))?.size === content.length,
    'An object is not there as soon as it is written.',
  )
  const listed = await trial.list()
  hold(
    listed.some(({name, size: bytes}) => name === 'small' && bytes === content.length),
    'An object is not listed, with its size, as soon as it is written.',
  )
  return 'What was written is read, found and listed at once'
}

async function readPart(trial: Trial): Promise<string> {
  const content = randomBytes(3000)
  await trial.put('parts', content)
  const ranges = [
    {start: 0, end: 0},
    {start: 1000, end: 1999},
    {start: 2500},
    {end: 99},
    {start: 2990, end: 9999},
  ]
  for (const {start, end} of ranges) {
    const wanted = content.subarray(start ?? 0, (end ?? 2999) + 1)
    const range = {...(start === undefined ? {} : {start}), ...(end === undefined ? {} : {end})}
    const part = await trial.read('parts', range)
    hold(part.equals(wanted), `Asked for the bytes ${start ?? 0} to ${end ?? 'the end'}, it gave others.`)
  }
  hold(
    (await trial.read('parts', {start: 5000})).length === 0,
    'It gave bytes from beyond the end of an object.',
  )
  return 'Any range of bytes'
}

async function writeOnce(trial: Trial): Promise<string> {
  const first = Buffer.from('the first')
  await trial.put('once', first)
  const failure = await failureOf(trial.put('once', Buffer.from('another')))
  trial.signal.throwIfAborted()
  const protect = [
    'Protect what is there: switch on versioning or object lock at the destination',
    ...notThere,
  ]
  hold(failure !== undefined, 'An object was replaced by another write of its name.', protect)
  if (code(failure) !== 'OBJECT_EXISTS') throw failure
  hold((await trial.read('once')).equals(first), 'A refused write changed the object all the same.', protect)
  return 'A second write of a name is refused'
}

async function overwrite(trial: Trial): Promise<string> {
  await trial.put('replaced', Buffer.from('old, and longer'))
  const replacement = Buffer.from('new')
  await trial.put('replaced', replacement, {overwrite: true})
  const isNew = (await trial.read('replaced')).equals(replacement)
  hold(
    isNew && (await trial.head('replaced'))?.size === 3,
    'After a replacement the old object was still given.',
  )
  return 'Replaced when that is asked for'
}

async function emptyObject(trial: Trial): Promise<string> {
  await trial.put('empty', Buffer.alloc(0))
  const info = await trial.head('empty')
  hold(
    info?.size === 0 && (await trial.read('empty')).length === 0,
    'An object without bytes was not kept as it was.',
  )
  return 'Kept'
}

/** Names that every system takes, and that are often written otherwise on the way. */
const names = [
  'with space',
  'grüße-ファイル-😀',
  'a+b&c=d%20e#f',
  "it's;$(x)",
  '~',
  'two/levels/deep.dir/toc.dat',
]

async function oddNames(trial: Trial): Promise<string> {
  for (const name of names) {
    const key = `names/${name}`
    await trial.put(key, Buffer.from(name))
    hold((await trial.read(key)).toString() === name, `The name ${name} led to something else.`)
  }
  const listed = new Set((await trial.list('names/')).map(({name}) => name))
  const lost = names.find((name) => !listed.has(`names/${name}`))
  hold(lost === undefined && listed.size === names.length, `The name ${lost ?? ''} is listed as another.`)
  return `Taken and listed as they are: ${names.slice(0, 3).join(', ')} …`
}

/** In the order of their UTF-8 bytes, which is not that of JavaScript's strings. */
const ordered = ['B', 'a-b', 'a/b/c', 'a/z', 'a0', 'b', '\u00e4', '\ufb01', '\u{1f600}']

async function orderOfListing(trial: Trial): Promise<string> {
  for (const name of [...ordered].reverse()) await trial.put(`order/${name}`, Buffer.from(name))
  const listed = async (prefix: string) =>
    (await trial.list(`order/${prefix}`)).map(({name}) => name.slice(6))
  const all = await listed('')
  hold(all.join('\n') === ordered.join('\n'), `A listing gave ${all.join(' ')}, not ${ordered.join(' ')}.`)
  const some = ordered.filter((name) => name.startsWith('a'))
  hold((await listed('a')).join('\n') === some.join('\n'), 'A listing of a beginning of names gave others.')
  return 'By the names, and by their beginnings'
}

async function missingObject(trial: Trial): Promise<string> {
  hold((await trial.head('nothing')) === undefined, 'It says that it has an object that was never stored.')
  const failure = await failureOf(trial.read('nothing'))
  trial.signal.throwIfAborted()
  hold(failure !== undefined, 'It gave an object that was never stored.')
  if (code(failure) !== 'OBJECT_NOT_FOUND') throw failure
  return 'Told apart from one that cannot be read'
}

/** More than one part of an upload in parts, so that there is something to take back. */
const stoppedBytes = 12 * 1024 * 1024

async function stoppedWrite(trial: Trial): Promise<string> {
  const before = await leftovers(trial)
  const {failure, isIgnored} = await stopAmid(
    trial,
    new Error('The write was stopped to see what it leaves.'),
  )
  trial.signal.throwIfAborted()
  hold(failure !== undefined, 'A write that was stopped says that it has stored everything.')
  if (failure instanceof DbbakError) throw failure
  const listed = (await trial.list('stopped')).length > 0
  hold(
    !listed && (await trial.head('stopped')) === undefined,
    'A write that was stopped left half an object.',
  )
  hold(!isIgnored, 'A write that was stopped went on until its source was gone.')
  const left = [...(await leftovers(trial))].filter((key) => !before.has(key))
  hold(left.length === 0, `A write that was stopped left ${left.join(', ')}.`, [
    'Let the destination remove unfinished uploads by itself after some days (a lifecycle rule)',
  ])
  return 'Leaves nothing'
}

/** How long a stop may take, and how long a destination may take to want all that there is before it. */
const stopMs = 5000
const givingMs = 120_000

/** Stops a write for which there is no more to read, but whose end has not come. */
async function stopAmid(trial: Trial, reason: Error): Promise<{failure: unknown; isIgnored: boolean}> {
  const controller = new AbortController()
  const piece = randomBytes(256 * 1024)
  let given = 0
  let isIgnored = false
  let giveUp: NodeJS.Timeout | undefined
  const stop = () => {
    giveUp ??= setTimeout(() => {
      isIgnored = true
      body.destroy(reason)
    }, stopMs)
    controller.abort(reason)
  }
  const body = new Readable({
    read() {
      if (given >= stoppedBytes) return stop()
      given += piece.length
      this.push(piece)
    },
  })
  const slow = setTimeout(stop, givingMs)
  const failure = await failureOf(trial.putStream('stopped', body, {signal: controller.signal}))
  clearTimeout(slow)
  clearTimeout(giveUp)
  return {failure, isIgnored}
}

async function leftovers({store}: Trial): Promise<Set<string>> {
  const keys = new Set<string>()
  for await (const {key} of store.leftovers()) keys.add(key)
  return keys
}

/** Large enough to be uploaded in parts, and odd. */
const largeBytes = 20 * 1024 * 1024 + 7

async function largeObject(trial: Trial): Promise<string> {
  const content = randomBytes(largeBytes)
  const upload = await megabytesPerSecond(() => trial.put('large', content))
  let read: Buffer = Buffer.alloc(0)
  const download = await megabytesPerSecond(async () => {
    read = await trial.read('large')
  })
  hold(
    sha256(read) === sha256(content),
    'It gave back other bytes of a large object than were written to it.',
  )
  hold((await trial.head('large'))?.size === largeBytes, 'It tells another size of a large object.')
  return `${Math.round(largeBytes / 1e6)} MB unchanged; upload ${upload} MB/s, download ${download} MB/s`
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

async function megabytesPerSecond(work: () => Promise<unknown>): Promise<string> {
  const rate = largeBytes / 1e3 / Math.max(1, await milliseconds(work))
  return rate < 10 ? rate.toFixed(1) : String(Math.round(rate))
}

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

async function latency(trial: Trial): Promise<string> {
  await trial.put('asked', Buffer.from('x'))
  const times: number[] = []
  for (let request = 0; request < 5; request++) times.push(await milliseconds(() => trial.head('asked')))
  const median = times.sort((a, b) => a - b)[2] ?? 0
  return `${median < 10 ? median.toFixed(1) : Math.round(median)} ms for a small request`
}

async function removal(trial: Trial): Promise<string> {
  await trial.put('removed', Buffer.from('x'))
  await trial.remove('removed')
  const listed = (await trial.list('removed')).length > 0
  hold(!listed && (await trial.head('removed')) === undefined, 'An object was removed, and is still there.')
  await trial.put('removed', Buffer.from('y'))
  await trial.remove('removed')
  await trial.remove('removed') // that of a missing one is no error
  return 'What is removed is gone, and its name is free'
}
