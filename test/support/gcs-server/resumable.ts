import {existsSync, writeFileSync} from 'node:fs'
import {open} from 'node:fs/promises'
import type {Call} from './call.js'
import {GoogleError, invalid, type Reply} from './errors.js'
import {checkHashes, describeObject, expectedOf, expectedOfHeader, insertedReply} from './insert.js'
import {parseResource} from './multipart.js'
import {checkPreconditions} from './preconditions.js'
import {block, type Session} from './sessions.js'

/** "Initiate a resumable upload session" */
export async function startSession(call: Call): Promise<Reply> {
  const {store, sessions, bucket, query, request, base} = call
  store.bucket(bucket)
  const text = await gather(call.body())
  const resource = text.length > 0 ? parseResource(text) : {}
  const {'x-upload-content-type': type, 'x-upload-content-length': length} = request.headers
  const described = describeObject(query, resource, type as string | undefined)
  checkPreconditions(store.find(bucket, described.name), query)
  const session = sessions.start({
    bucket,
    ...described,
    expected: [expectedOf(resource), expectedOfHeader(request.headers['x-goog-hash'])],
    query: query.toString(),
    ...(length !== undefined && {declaredBytes: Number(length)}),
  })
  const {id} = session.record
  const location = `${base}/upload/storage/v1/b/${bucket}/o?uploadType=resumable&upload_id=${id}`
  return {status: 200, headers: {location, 'x-guploader-uploadid': id}, body: ''}
}

/** "Upload the data" and "Check the status of a resumable upload" */
export async function continueSession(call: Call): Promise<Reply> {
  const session = sessionOf(call)
  return session.run(async () => {
    if (session.record.finished) return finishedReply(call, session)
    const range = parseContentRange(call.request.headers['content-range'])
    if (range.first === undefined) {
      await gather(call.body())
      // The total alone, when all is there: that ends an upload whose length was not known when its last chunk was sent.
      return range.total === session.persisted ? finish(call, session) : incomplete(session)
    }
    checkRange(session, range)
    await keep(call, session, range)
    const isAll = range.last === undefined ? call.request.complete : session.persisted === range.total
    return isAll ? finish(call, session) : incomplete(session)
  })
}

/** "Cancel a resumable upload" */
export async function cancelSession(call: Call): Promise<Reply> {
  const session = sessionOf(call)
  return session.run(async () => {
    call.sessions.remove(session.record.id)
    return {status: 499, headers: {'content-type': 'text/plain'}, body: ''}
  })
}

interface ContentRange {
  /** Absent when only the state is asked for. */
  first?: number
  last?: number
  total?: number
}

/** `bytes 0-524287/*`, `bytes 0-1999999/2000000`; `bytes *` + `/2000000` and `bytes *` + `/*` ask. */
function parseContentRange(header: string | undefined): ContentRange {
  // Without one, the whole content is in one request.
  if (header === undefined) return {first: 0}
  const match = /^bytes (?:(\d+)-(\d+|\*)|\*)\/(\d+|\*)$/.exec(header)
  if (!match) throw invalid('Failed to parse Content-Range header.')
  const [, first, last, total] = match
  return {
    ...(first !== undefined && {first: Number(first)}),
    ...(last !== undefined && last !== '*' && {last: Number(last)}),
    ...(total !== '*' && {total: Number(total)}),
  }
}

function checkRange(session: Session, {first = 0, last, total}: ContentRange): void {
  const {declaredBytes} = session.record
  if (declaredBytes !== undefined && total !== undefined && declaredBytes !== total)
    throw invalid(`Invalid request. X-Upload-Content-Length is ${declaredBytes}, the total size ${total}.`)
  if (first > session.persisted) {
    const offset = `the upload offset is ${first} byte(s), which exceeds already uploaded size of ${session.persisted} byte(s).`
    throw new GoogleError(
      503,
      'backendError',
      `Invalid request.  According to the Content-Range header, ${offset}`,
    )
  }
  const isLast = total !== undefined && last === total - 1
  if (last !== undefined && !isLast && last - first + 1 < block) {
    const least = `equal or greater than ${block}, except for the final request (it's recommended to be the exact multiple of ${block})`
    throw invalid(`Invalid request. The number of bytes uploaded is required to be ${least}.`)
  }
}

/** Bytes that were kept already are ignored; of a chunk that is not the last, only whole blocks are kept. */
async function keep(call: Call, session: Session, {first = 0, last, total}: ContentRange): Promise<void> {
  const {fault} = call
  const limit =
    fault?.do === 'persist' || fault?.do === 'break-off' ? session.persisted + fault.bytes! : Infinity
  const end = last === undefined ? undefined : last + 1
  let skip = session.persisted - first
  let waiting: Buffer = Buffer.alloc(0)
  const handle = await open(session.file, existsSync(session.file) ? 'r+' : 'w')
  const write = async (bytes: Buffer) => {
    if (bytes.length === 0) return
    await handle.write(bytes, 0, bytes.length, session.persisted)
    session.took(bytes)
  }
  try {
    for await (const bytes of call.body()) {
      const fresh = bytes.subarray(Math.min(skip, bytes.length))
      skip -= bytes.length - fresh.length
      waiting = waiting.length > 0 ? Buffer.concat([waiting, fresh]) : fresh
      const whole = Math.min(waiting.length, limit - session.persisted)
      const blocks = whole - (whole % block)
      await write(waiting.subarray(0, blocks))
      waiting = session.persisted >= limit ? Buffer.alloc(0) : waiting.subarray(blocks)
    }
    const isComplete = end === undefined || end === total
    const arrived = session.persisted + waiting.length
    if (isComplete && limit === Infinity && (end === undefined || arrived === end)) await write(waiting)
  } finally {
    await handle.close()
  }
}

async function finish(call: Call, session: Session): Promise<Reply> {
  const {store} = call
  const {bucket, name, attributes, kmsKeyName, expected, query} = session.record
  if (session.persisted === 0) writeFileSync(session.file, '')
  const hashes = await session.hashes()
  checkHashes(hashes, [...expected, expectedOfHeader(call.request.headers['x-goog-hash'])])
  const object = {name, attributes, ...(kmsKeyName && {kmsKeyName}), ...hashes}
  const content = {file: session.file, size: session.persisted}
  const {generation} = store.insert(bucket, {...object, ...content}, new URLSearchParams(query))
  session.finish(generation)
  return finishedReply(call, session)
}

function finishedReply(call: Call, {record}: Session): Reply {
  const {bucket, name, finished, query} = record
  const object = call.store.get(bucket, name, finished!.generation)
  return insertedReply(call, object, new URLSearchParams(query).get('fields'))
}

function incomplete({persisted}: Session): Reply {
  return {status: 308, headers: persisted > 0 ? {range: `bytes=0-${persisted - 1}`} : {}, body: ''}
}

function sessionOf({sessions, query}: Call): Session {
  const session = sessions.find(query.get('upload_id') ?? '')
  if (session) return session
  throw new GoogleError(sessions.forgottenStatus, 'notFound', 'Not Found')
}

async function gather(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const bytes of body) chunks.push(bytes)
  return Buffer.concat(chunks)
}
