import {corrupt, type InputCheck} from './checked-decoder.js'

/** gzip data may be followed by zero bytes, as on tapes; by anything else it may not. */
export class GzipInput implements InputCheck {
  readonly name = 'gzip'
  private bytes = 0
  /** How many bytes there are up to the last that is not zero. */
  private meaningful = 0

  take(chunk: Buffer): Buffer[] {
    const last = chunk.findLastIndex((byte) => byte !== 0)
    if (last >= 0) this.meaningful = this.bytes + last + 1
    this.bytes += chunk.length
    return [chunk]
  }

  end(usedBytes: number): void {
    if (this.meaningful > usedBytes) throw corrupt(this.name, 'something follows its end')
  }
}
