import {afterAll, afterEach, beforeAll, describe, expect, test} from '@jest/globals'
import {quoteIdentifier} from '../../src/postgres/identifiers.js'
import {clientTools18} from '../support/client-tools-18.js'
import {createChangedCopy, createFeatureRich} from '../support/feature-rich.js'
import {needs} from '../support/needs.js'
import {openRoundTrip, type RoundTrip} from '../support/round-trip.js'
import {loadSample, missingSampleData, sampleNames} from '../support/sample-data.js'
import {missingServer} from '../support/servers.js'

const tools18 = await clientTools18()
const formats = ['custom', 'plain', 'directory'] as const

/** A server's major version, and the folder of the client tools where they are not the installed ones. */
const machines = [
  {major: 15, samples: sampleNames},
  {major: 16, pgBin: tools18.folder, samples: ['pagila'] as const},
  {major: 18, pgBin: tools18.folder, samples: sampleNames},
]

for (const machine of machines) {
  const toolsMissing = machine.major === 15 ? undefined : tools18.missing
  const serverMissing = await missingServer(machine.major)
  const describeMachine = toolsMissing
    ? needs('pg18-tools', toolsMissing)
    : needs('embedded-server', serverMissing)
  describeMachine(`PostgreSQL ${machine.major}, ${machine.pgBin ? 'tools of 18' : 'installed tools'}`, () => {
    let place: RoundTrip
    beforeAll(async () => {
      place = await openRoundTrip(machine)
    })
    afterAll(() => place.end())
    afterEach(() => place.server.dropDatabase('copy'))

    describeRoundTrips('Feature "rich"', (name) => createFeatureRich(place.server, name))
    const describeSamples = needs('sample-data', missingSampleData())
    for (const sample of machine.samples)
      describeSamples('sample databases', () =>
        describeRoundTrips(sample, () => loadSample(place.server, sample)),
      )

    function describeRoundTrips(source: string, load: (name: string) => Promise<unknown>): void {
      describe(source, () => {
        const changed = `changed ${source}`
        beforeAll(async () => {
          await load(source)
          await createChangedCopy(place.server, source, changed)
        })
        afterAll(() => place.server.dropDatabase(changed))

        test.each(formats)('an empty database becomes the same, %s format', async (format) => {
          await place.server.createDatabase('copy')
          await place.backUp(source, {format})
          await place.restoreInto('copy')
          expect(await place.differences(source, 'copy')).toEqual([])
        })

        test.each(formats)('a changed database becomes the same, %s format', async (format) => {
          await place.server.createDatabase('copy', `template ${quoteIdentifier(changed)}`)
          expect(await place.differences(source, 'copy')).not.toEqual([])
          await place.backUp(source, {format})
          await place.restoreInto('copy', {safetyBackup: format === 'custom'})
          expect(await place.differences(source, 'copy')).toEqual([])
        })
      })
    }
  })
}
