import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {mkdir, mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {pathToFileURL} from 'node:url'
import {htmlReport} from '../../src/report/status-html.js'
import type {StatusResult} from '../../src/library/status.js'
import {needs} from '../support/needs.js'
import {Chromium, findChromium, withPage, type Look} from './chromium.js'
import {sampleDrills, sampleFindings, sampleStatus} from './status-sample.js'

const chromium = await findChromium()
/** Where to leave pictures of the pages, for whoever wants to look at them. */
const pictures = process.env.DBBAK_TEST_PICTURES

let browser: Chromium
let folder: string

/** Long names and hostile ones. */
const strange = '<script>alert(1)</script>"\' onload=x ' + 'very_long_name_'.repeat(12)

const withStrangeNames = (): StatusResult => {
  const status = sampleStatus(30, {healthy: false, findings: sampleFindings})
  const second = {...status.databases[0], name: strange, destination: `s3://${strange}`}
  const finding = {...sampleFindings[0], message: strange, database: strange, suggestion: `dbbak ${strange}`}
  return {...status, databases: [...status.databases, second], findings: [...sampleFindings, finding]}
}

const pages: [string, () => string][] = [
  ['no backup', () => htmlReport(sampleStatus(0, {healthy: false, findings: sampleFindings.slice(0, 1)}))],
  ['1 backup', () => htmlReport(sampleStatus(1))],
  ['30 backups', () => htmlReport(sampleStatus(30), sampleDrills)],
  ['400 backups', () => htmlReport(sampleStatus(400, {healthy: false, findings: sampleFindings}))],
  [
    'warnings',
    () =>
      htmlReport(sampleStatus(90, {findings: sampleFindings.filter(({severity}) => severity !== 'error')})),
  ],
  ['strange names', () => htmlReport(withStrangeNames(), sampleDrills)],
]

const looks: Look[] = [390, 1280].flatMap((width) => [
  {width, scheme: 'light' as const},
  {width, scheme: 'dark' as const},
])

needs('chromium', chromium === undefined && 'it is not installed')('the page of status in Chromium', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'status-page-'))
    browser = await Chromium.start(chromium!)
  })
  afterAll(async () => {
    await browser?.stop()
    await rm(folder, {recursive: true, force: true})
  })

  describe.each(pages)('with %s', (name, page) => {
    test.each(looks)('is whole and readable at $width pixels, $scheme', async (look) => {
      const file = join(folder, `${name.replaceAll(' ', '-')}.html`)
      await writeFile(file, page())
      await withPage(browser, pathToFileURL(file).href, look, async (seen) => {
        const width = await seen.evaluate<number>('document.documentElement.scrollWidth')
        const contrasts = await seen.evaluate<Contrast[]>(`(${measureContrasts.toString()})()`)
        const {width: expected, scheme} = look
        if (pictures !== undefined) {
          await mkdir(pictures, {recursive: true})
          await writeFile(join(pictures, `${name}-${expected}-${scheme}.png`), await seen.screenshot())
        }
        expect({width, complaints: seen.complaints, requests: seen.requests.filter(isNetwork)}).toEqual({
          width: expected,
          complaints: [],
          requests: [],
        })
        expect(contrasts.length).toBeGreaterThan(8)
        expect(contrasts.filter(({ratio}) => ratio < 4.5)).toEqual([])
        expect(await seen.evaluate('document.querySelectorAll("script").length')).toBe(0)
      })
    })
  })

  test('the style is in force although nothing may be loaded, and no script runs', async () => {
    const file = join(folder, 'policy.html')
    const page = htmlReport(sampleStatus(3))
    await writeFile(file, page.replace('</main>', '<script>document.title = "ran"</script></main>'))
    await withPage(browser, pathToFileURL(file).href, {width: 1280, scheme: 'light'}, async (seen) => {
      expect(await seen.evaluate('document.title')).toMatch(/^Healthy/)
      expect(await seen.evaluate('getComputedStyle(document.querySelector("main")).display')).toBe('grid')
      expect(seen.complaints.join()).toContain('Content Security Policy')
    })
  })

  test('the measure of contrast finds text that cannot be read', async () => {
    const file = join(folder, 'pale.html')
    await writeFile(
      file,
      htmlReport(sampleStatus(3))
        .replaceAll('--soft:#586374', '--soft:#aab2bd')
        .replace(/<meta http-equiv[^>]*>/, ''),
    )
    await withPage(browser, pathToFileURL(file).href, {width: 1280, scheme: 'light'}, async (seen) => {
      const contrasts = await seen.evaluate<Contrast[]>(`(${measureContrasts.toString()})()`)
      expect(contrasts.some(({ratio}) => ratio < 3)).toBe(true)
    })
  })
})

const isNetwork = (url: string): boolean => !url.startsWith('data:')

interface Contrast {
  text: string
  ratio: number
}

/** Runs in the page: the contrast of every text with what is behind it, by WCAG's formula. */
function measureContrasts(): Contrast[] {
  /* eslint-disable @typescript-eslint/no-explicit-any */
  const {document, getComputedStyle, NodeFilter} = globalThis as any
  const channels = (color: string): number[] => (color.match(/[\d.]+/g) ?? []).map(Number)
  const luminance = (color: number[]) => {
    const [r = 0, g = 0, b = 0] = color
      .slice(0, 3)
      .map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const groundOf = (element: any): number[] => {
    for (let at = element; at; at = at.parentElement) {
      const ground = channels(getComputedStyle(at).backgroundColor)
      if (ground.length === 3 || ground[3] === 1) return ground
      if (ground[3] !== 0) throw new Error('a ground that one sees through')
    }
    return [255, 255, 255]
  }
  const found: Contrast[] = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement
    const text = node.textContent.trim()
    if (text === '' || element.closest('title, desc, style, script')) continue
    const style = getComputedStyle(element)
    const one = luminance(channels(element.closest('svg') ? style.fill : style.color))
    const other = luminance(groundOf(element))
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)
    found.push({text: text.slice(0, 60), ratio: Math.round(ratio * 100) / 100})
  }
  return found
}
