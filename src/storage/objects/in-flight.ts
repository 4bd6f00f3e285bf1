/** Parts in flight hold no more than this together, as long as one alone does not. */
const inFlightBytes = 40 * 1024 * 1024

/** Bounds the memory of all uploads to one store together: several may run at a time. */
export class InFlight {
  private bytes = 0
  private readonly waiting: {bytes: number; go: () => void}[] = []

  constructor(private readonly most = inFlightBytes) {}

  /**
   * Waits until a part may be sent; one alone always may, however large.
   * @returns what is to be called when it has been sent
   */
  async enter(bytes: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.waiting.length > 0 || !this.hasRoomFor(bytes)) await this.turn(bytes, signal)
    else this.bytes += bytes
    return () => {
      this.bytes -= bytes
      this.admit()
    }
  }

  private hasRoomFor(bytes: number): boolean {
    return this.bytes === 0 || this.bytes + bytes <= this.most
  }

  private turn(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.waiting.splice(this.waiting.indexOf(entry), 1)
        reject(signal.reason as Error)
        this.admit()
      }
      const entry = {
        bytes,
        go: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      this.waiting.push(entry)
      signal.addEventListener('abort', leave, {once: true})
    })
  }

  /** In the order in which they came. */
  private admit(): void {
    for (let next = this.waiting[0]; next && this.hasRoomFor(next.bytes); next = this.waiting[0]) {
      this.waiting.shift()
      this.bytes += next.bytes
      next.go()
    }
  }
}
