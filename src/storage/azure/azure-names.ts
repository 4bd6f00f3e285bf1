import {randomBytes} from 'node:crypto'
import {StoreError} from '../objects/store-error.js'
import type {AzureContainer} from './azure-container.js'

/**
 * Azure drops dots at the end of a URL's path, so that `shop.` would be stored as `shop` and be read and removed as
 * `shop` (its emulator keeps them). Whether that happens is asked, and only for names that have such dots: a listing
 * tells names as they are.
 */
export class NameCheck {
  private readonly known = new Map<string, Promise<boolean>>()

  constructor(private readonly container: AzureContainer) {}

  /** @throws StoreError `failed` when the store would keep the object under another name */
  async refuseUnlessKept(name: string, signal: AbortSignal): Promise<void> {
    if (!isDotted(name)) return
    const like = name.replace(/[^/]*$/, (last) => (last.endsWith('.') ? '.' : ''))
    let kept = this.known.get(like)
    if (!kept) {
      kept = this.isKept(like, signal)
      this.known.set(like, kept)
      kept.catch(() => this.known.delete(like))
    }
    if (await kept) return
    throw new StoreError('failed', 'Azure cannot keep a name of which a part ends with a dot', {
      suggestions: ['Use a name, and a prefix, of which no part ends with a dot.'],
    })
  }

  /** Whether requests for the name lead to it, and not to another blob. */
  async isReachable(name: string, signal: AbortSignal): Promise<boolean> {
    return !isDotted(name) || this.isListed(name, signal)
  }

  /** Tries it with a name that nobody uses, and a blob that is no object. */
  private async isKept(like: string, signal: AbortSignal): Promise<boolean> {
    const name = like.replace(/\.?$/, (end) => `dbbak-name-check-${randomBytes(8).toString('hex')}${end}`)
    const etag = await this.container.putDiscarded(name, signal)
    try {
      return await this.isListed(name, signal)
    } finally {
      if (etag !== undefined) await this.container.removeDiscarded(name, etag, signal)
    }
  }

  private async isListed(name: string, signal: AbortSignal): Promise<boolean> {
    return this.container.ask(signal, async () => {
      const options = {abortSignal: signal, prefix: name, includeUncommitedBlobs: true}
      // Whatever the order is, the name itself comes before those that are longer.
      for await (const blob of this.container.client.listBlobsFlat(options)) return blob.name === name
      return false
    })
  }
}

const isDotted = (name: string): boolean => /\.(\/|$)/.test(name)
