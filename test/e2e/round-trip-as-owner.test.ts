import {fileURLToPath} from 'node:url'
import {afterAll, afterEach, beforeAll, describe, expect, test} from '@jest/globals'
import {openRoundTrip, type RoundTrip} from '../support/round-trip.js'

const schema = {file: fileURLToPath(new URL('../support/app-schema.sql', import.meta.url))}

describe('a role that owns its database and is no superuser', () => {
  let place: RoundTrip
  const asApp = (database: string) => place.server.url(database, 'app', 'secret')

  beforeAll(async () => {
    place = await openRoundTrip({major: 15})
    await place.server.query(`create role app login password 'secret'; create role app_reader`)
    await place.server.createDatabase('shop', 'owner app')
    await place.server.psql(schema, 'shop')
  })
  afterAll(() => place.end())
  afterEach(() => place.server.dropDatabase('copy'))

  test.each(['custom', 'plain', 'directory'] as const)(
    'replaces a changed copy, %s format',
    async (format) => {
      await place.server.createDatabase('copy', 'template shop owner app')
      await place.server.query(
        `set session authorization app; drop table app.orders cascade; create table public.stranger (a integer);
       create table extensions.stranger (a integer); create schema stranger; grant all on schema extensions to public;
       comment on schema extensions is 'changed'; comment on extension citext is 'changed'; delete from audit.log_rest; select lo_unlink(5001);
       grant create on schema public to public; alter default privileges grant all on tables to app_reader`,
        'copy',
      )
      expect(await place.differences('shop', 'copy')).not.toEqual([])

      await place.backUp('shop', {databaseUrl: asApp('shop'), format})
      await place.restoreInto(asApp('copy'))

      expect(await place.differences('shop', 'copy')).toEqual([])
      expect([...place.warnings].sort()).toEqual([
        'EXTENSION_COMMENT',
        'EXTENSION_COMMENT',
        'EXTENSION_KEPT',
        'EXTENSION_KEPT',
      ])
    },
  )

  test('is told what is missing in an empty database, and fills it when it is there', async () => {
    await place.server.createDatabase('copy', 'owner app')
    await place.backUp('shop', {databaseUrl: asApp('shop')})

    await expect(place.restoreInto(asApp('copy'))).rejects.toThrow(/dblink/)
    await place.server.query(
      `create schema extensions authorization app; create extension dblink schema extensions; create extension pageinspect;
       comment on extension dblink is 'the superuser''s words'; grant execute on all functions in schema extensions to app`,
      'copy',
    )
    await place.restoreInto(asApp('copy'))

    expect(await place.differences('shop', 'copy')).toEqual([])
  })
})
