import {describe, expect, test} from '@jest/globals'
import {createHash} from 'node:crypto'
import {htmlReport} from '../../src/report/status-html.js'
import {sampleDrills, sampleFindings, sampleStatus} from './status-sample.js'

describe('the page of status', () => {
  test('says in its title and its heading how the backups are', () => {
    expect(htmlReport(sampleStatus(3))).toMatch(/<title>Healthy: .*<h1>All backups are healthy<\/h1>/s)
    const bad = htmlReport(sampleStatus(3, {healthy: false, findings: sampleFindings}))
    expect(bad).toMatch(/<title>Not healthy: .*<h1>The backups need attention<\/h1>/s)
    const warned = htmlReport(sampleStatus(3, {findings: sampleFindings.slice(2)}))
    expect(warned).toContain('<h1>Healthy, with warnings</h1>')
  })

  test('shows every finding with what to do, and its command as one', () => {
    const page = htmlReport(sampleStatus(3, {findings: sampleFindings}))
    for (const {message, code} of sampleFindings) {
      expect(page).toContain(`<p>${message}</p>`)
      expect(page).toContain(`<p class="where">${code}`)
    }
    expect(page.match(/class="badge (error|warning|info)"/g)).toHaveLength(4)
  })

  test('escapes every value that comes from elsewhere', () => {
    const evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>\'&'
    const status = sampleStatus(30, {
      findings: [{...sampleFindings[0], message: evil, suggestion: evil, database: evil, destination: evil}],
      destinations: [{destination: evil, reachable: true}],
    })
    const [one] = status.databases
    const history = one.history.map((entry) => ({...entry, id: evil}))
    const page = htmlReport({...status, databases: [{...one, name: evil, destination: evil, history}]}, [
      {...sampleDrills[0], database: evil},
    ])
    expect(page).not.toMatch(/<script|<img|onerror=alert\(1\)>/)
    expect(page).toContain('&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;')
  })

  test('needs nothing from elsewhere, and allows nothing but its own style', () => {
    const page = htmlReport(sampleStatus(30), sampleDrills)
    expect(page).not.toMatch(/https?:|<script|<link rel="stylesheet"|@import|url\(| style=| on[a-z]+=/)
    const [, style = ''] = /<style>(.*?)<\/style>/s.exec(page) ?? []
    const hash = createHash('sha256').update(style).digest('base64')
    expect(page).toContain(`default-src &#39;none&#39;; style-src &#39;sha256-${hash}&#39;`)
  })

  test('names each picture for those who do not see it', () => {
    const page = htmlReport(sampleStatus(30))
    const pictures = page.match(/<svg[^>]*role="img"[^>]*>/g) ?? []
    expect(pictures.length).toBeGreaterThan(3)
    for (const picture of pictures) {
      const ids = /aria-labelledby="([^"]+)"/.exec(picture)?.[1].split(' ') ?? []
      expect(ids).not.toEqual([])
      for (const id of ids) expect(page.split(`id="${id}"`)).toHaveLength(2)
    }
    expect(page).toContain('30 backups from 16 Feb 2026 to 17 Mar 2026: the newest has')
  })

  test('has its ids once each, with several databases', () => {
    const status = sampleStatus(5)
    const other = {...status.databases[0], name: 'other'}
    const page = htmlReport({...status, databases: [...status.databases, other]})
    const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('the calendar tells of each day what was taken, verified and failed', () => {
    const page = htmlReport(sampleStatus(30))
    expect(page).toContain('<title>8 Mar 2026: 1 backup, 1 verified, 1 failed</title>')
    expect(page).toContain('<title>15 Mar 2026: 1 backup, 1 verified</title>')
    expect(page).toContain('<title>16 Mar 2026: 1 backup</title>')
    expect(page).toMatch(/February 2026: backups on 13 days, verified on 1/)
    expect(page).not.toContain('18 Mar 2026:') // is yet to come
  })

  test('drills are shown where there were some', () => {
    expect(htmlReport(sampleStatus(3))).not.toContain('Drills')
    const page = htmlReport(sampleStatus(3), sampleDrills)
    expect(page).toMatch(/Drills.*12 min 22 s.*at most 30 min.*met.*35 min 30 s.*missed/s)
  })

  test('a flag of a command stays in one line', () => {
    const page = htmlReport(sampleStatus(3, {healthy: false, findings: sampleFindings}))
    expect(page).toContain('<code>dbbak backup <span class="keep">--to</span> s3://backups/shop</code>')
  })

  test('what else may be done is told too, and which server is meant', () => {
    const server = 'db.internal:5432'
    const finding = {...sampleFindings[0], server, otherwise: 'Leave it out: dbbak status --ignore shop'}
    const status = sampleStatus(3, {healthy: false, findings: [finding]})
    const [one] = status.databases
    const page = htmlReport({...status, databases: [one, {...one, server}]})
    expect(page).toMatch(/Leave it out: <code>dbbak status <span class="keep">--ignore<\/span> shop/)
    expect(page).toContain('BACKUP_TOO_OLD · shop · db.internal:5432 · s3://backups/shop')
    expect(page.match(/class="late"><dt>Newest backup/g)).toHaveLength(2) // of all, and of that one
    expect(page).toContain('<h2 id="database-2">shop (db.internal:5432)</h2>')
  })

  test('a backup from the future has no age', () => {
    const status = sampleStatus(3)
    const ahead = {...status.newest!, ageSeconds: -3 * 86_400}
    expect(htmlReport({...status, newest: ahead})).toContain('3 d in the future')
  })

  test('the chart of a year has its months written, and says what its marks are', () => {
    const page = htmlReport(sampleStatus(400))
    expect(page).toMatch(/text-anchor="middle">Sep<\/text>/)
    expect(page).toContain(
      'A line through all 400 backups; the dot is the newest; a cross failed its verification.',
    )
    expect(htmlReport(sampleStatus(2))).toContain('Each dot is a backup')
  })

  test('with nothing at all it is still a page', () => {
    const page = htmlReport({...sampleStatus(0), databases: [], destinations: [], healthy: false})
    expect(page).toMatch(/^<!doctype html>/)
    expect(page).not.toMatch(/undefined|NaN|\[object|Infinity|0 databases/)
  })

  test.each([1, 2, 30, 400])('with %i backups no number is none', (count) => {
    expect(htmlReport(sampleStatus(count))).not.toMatch(/undefined|NaN|\[object|Infinity|null/)
  })
})
