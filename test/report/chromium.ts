import {spawn, type ChildProcess} from 'node:child_process'
import {access, mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import type {Readable, Writable} from 'node:stream'

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** The path of a Chromium on this machine, or undefined. */
export async function findChromium(): Promise<string | undefined> {
  for (const path of places)
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path
  return undefined
}

interface Message {
  id?: number
  method?: string
  params?: Record<string, unknown>
  result?: Record<string, unknown>
  error?: {message: string}
}

/** A browser without a window, driven over pipes: no port is opened. */
export class Chromium {
  private nextId = 1
  private readonly waiting = new Map<number, (message: Message) => void>()
  private readonly listeners: ((message: Message) => void)[] = []
  private received = ''

  private constructor(
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {
    ;(child.stdio[4] as Readable).setEncoding('utf8').on('data', (text: string) => this.take(text))
    child.on('exit', () => {
      for (const answer of this.waiting.values()) answer({error: {message: 'The browser has ended.'}})
    })
  }

  static async start(path: string): Promise<Chromium> {
    const folder = await mkdtemp(join(tmpdir(), 'chromium-'))
    const options = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']
    const child = spawn(path, [...options, `--user-data-dir=${folder}`, '--remote-debugging-pipe'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    })
    return new Chromium(child, folder)
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve))
    this.send('Browser.close').catch(() => {})
    await ended
    await rm(this.folder, {recursive: true, force: true, maxRetries: 10})
  }

  on(listener: (message: Message) => void): void {
    this.listeners.push(listener)
  }

  send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = this.nextId++
    return new Promise((resolve, reject) => {
      this.waiting.set(id, ({result, error}) =>
        error ? reject(new Error(`${method}: ${error.message}`)) : resolve(result ?? {}),
      )
      ;(this.child.stdio[3] as Writable).write(`${JSON.stringify({id, method, params, sessionId})}\0`)
    })
  }

  private take(text: string): void {
    const parts = (this.received + text).split('\0')
    this.received = parts.pop() ?? ''
    for (const part of parts) {
      const message = JSON.parse(part) as Message
      const answer = message.id === undefined ? undefined : this.waiting.get(message.id)
      if (answer) {
        this.waiting.delete(message.id!)
        answer(message)
      } else for (const listener of this.listeners) listener(message)
    }
  }
}

export interface Look {
  width: number
  scheme: 'dark' | 'light'
}

export interface Seen {
  /** What the console, the log and the page's own failures said. */
  complaints: string[]
  /** Everything that the page asked the network for, itself excepted. */
  requests: string[]
  evaluate<T>(expression: string): Promise<T>
  screenshot(): Promise<Buffer>
}

/** Opens a page as somebody would see it, and works with it. */
export async function withPage<T>(
  browser: Chromium,
  url: string,
  {width, scheme}: Look,
  work: (seen: Seen) => Promise<T>,
): Promise<T> {
  const {targetId} = await browser.send('Target.createTarget', {url: 'about:blank'})
  const {sessionId} = (await browser.send('Target.attachToTarget', {targetId, flatten: true})) as {
    sessionId: string
  }
  const send = (method: string, params: object = {}) => browser.send(method, params, sessionId)
  const complaints: string[] = []
  const requests: string[] = []
  const loaded = new Promise<void>((resolve) =>
    browser.on(({method, params}) => {
      if (method === 'Page.loadEventFired') resolve()
      if (['Runtime.consoleAPICalled', 'Log.entryAdded', 'Runtime.exceptionThrown'].includes(method ?? ''))
        complaints.push(JSON.stringify(params))
      if (method === 'Network.requestWillBeSent')
        requests.push((params as {request: {url: string}}).request.url)
    }),
  )
  for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await send(`${domain}.enable`)
  const mobile = width < 600
  await send('Emulation.setDeviceMetricsOverride', {
    width,
    height: 900,
    deviceScaleFactor: mobile ? 2 : 1,
    mobile,
  })
  await send('Emulation.setEmulatedMedia', {features: [{name: 'prefers-color-scheme', value: scheme}]})
  await send('Emulation.setScrollbarsHidden', {hidden: true})
  await send('Page.navigate', {url})
  await loaded
  try {
    return await work({
      complaints,
      requests: requests.filter((request) => request !== url),
      async evaluate<V>(expression: string) {
        const {result, exceptionDetails} = await send('Runtime.evaluate', {expression, returnByValue: true})
        if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails))
        return (result as {value: V}).value
      },
      async screenshot() {
        const {data} = await send('Page.captureScreenshot', {captureBeyondViewport: true, format: 'png'})
        return Buffer.from(data as string, 'base64')
      },
    })
  } finally {
    await browser.send('Target.closeTarget', {targetId})
  }
}
