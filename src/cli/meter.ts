import type {ByteProgress} from '../engine/events.js'
import {formatBytes, formatCount, formatDuration, formatSpeed, printable} from './format.js'

const windowMs = 10_000
const sampleEveryMs = 250
const etaAfterMs = 3000

/** Follows one activity's bytes: how fast lately, and how long it will still take. */
export class Meter {
  private samples: {atMs: number; bytes: number}[] = []
  private latest: ByteProgress = {bytes: 0}

  constructor(private readonly startedMs: number) {
    this.samples.push({atMs: startedMs, bytes: 0})
  }

  get bytes(): number {
    return this.latest.bytes
  }

  record(progress: ByteProgress, nowMs: number): void {
    this.latest = progress
    const last = this.samples.at(-1)
    if (last !== undefined && nowMs - last.atMs < sampleEveryMs) return
    this.samples.push({atMs: nowMs, bytes: progress.bytes})
    while (this.samples.length > 2 && nowMs - this.samples[1]!.atMs > windowMs) this.samples.shift()
  }

  /** "37%  412 MB of 1.1 GB  112 MB/s  6 s left  sales.orders, 200,000 of 8,850,000 rows", as far as it is known; the time gone where no bytes are. */
  describe(nowMs: number): string {
    return [this.describeBytes(nowMs), this.describeObject()].filter(Boolean).join('  ')
  }

  private describeBytes(nowMs: number): string {
    if (this.bytes === 0) return nowMs - this.startedMs < 1000 ? '' : wholeSeconds(nowMs - this.startedMs)
    const speed = this.bytesPerSecond(nowMs)
    return [...this.share(), speed > 0 ? formatSpeed(speed) : '', this.timeLeft(speed, nowMs)]
      .filter(Boolean)
      .join('  ')
  }

  /** "sales.orders, 200,000 of 8,850,000 rows": those of the tables before it. */
  private describeObject(): string {
    const {object, rows} = this.latest
    if (object === undefined) return ''
    const name = printable(object)
    return rows ? `${name}, ${formatCount(rows.done)} of ${formatCount(rows.total)} rows` : name
  }

  /** Over the last seconds: what was long ago says little about now. */
  private bytesPerSecond(nowMs: number): number {
    const first = this.samples[0]!
    const elapsedMs = nowMs - first.atMs
    return elapsedMs < sampleEveryMs ? 0 : ((this.bytes - first.bytes) / elapsedMs) * 1000
  }

  /** A total is an estimate: one that was passed was wrong, and says nothing any more. */
  private share(): string[] {
    const {bytes, totalBytes} = this.latest
    if (totalBytes === undefined || totalBytes <= bytes) return [formatBytes(bytes)]
    return [
      `${Math.floor((bytes / totalBytes) * 100)}%`,
      `${formatBytes(bytes)} of ${formatBytes(totalBytes)}`,
    ]
  }

  private timeLeft(speed: number, nowMs: number): string {
    const {bytes, totalBytes} = this.latest
    if (totalBytes === undefined || totalBytes <= bytes || speed <= 0 || nowMs - this.startedMs < etaAfterMs)
      return ''
    return `${wholeSeconds(((totalBytes - bytes) / speed) * 1000)} left`
  }
}

/** What an ended activity amounted to: "1.1 GB in 9.8 s, 112 MB/s", "12 tables in 40 ms", "40 ms". */
export function describeEnded(detail: string | undefined, bytes: number, durationMs: number): string {
  const what = detail ?? (bytes > 0 ? formatBytes(bytes) : undefined)
  if (what === undefined) return formatDuration(durationMs)
  const speed = bytes > 0 && durationMs >= 1000 ? `, ${formatSpeed((bytes / durationMs) * 1000)}` : ''
  return `${what} in ${formatDuration(durationMs)}${speed}`
}

/** Tenths of a second would only flicker. */
function wholeSeconds(milliseconds: number): string {
  return formatDuration(Math.max(1, Math.round(milliseconds / 1000)) * 1000).replace('.0 s', ' s')
}
