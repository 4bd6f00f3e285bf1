/** So many bytes a second, shared by all who ask. */
export class Rate {
  private free = 0

  constructor(private readonly bytesPerSecond: number) {}

  /** Bytes that are sent at once: a tenth of a second's. */
  get pieceBytes(): number {
    return Math.max(1, Math.min(64 * 1024, Math.floor(this.bytesPerSecond / 10)))
  }

  /** Takes its turn, and says how many milliseconds it is until then. */
  wait(bytes: number): number {
    const now = performance.now()
    const start = Math.max(now, this.free)
    this.free = start + (bytes / this.bytesPerSecond) * 1000
    return this.free - now
  }
}
