import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {clientTools18} from '../support/client-tools-18.js'
import {needs} from '../support/needs.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'
import {missingServer} from '../support/servers.js'

const tools18 = await clientTools18()

/** What a database is made with, where the catalogue has other columns in every other version. */
const locales: Record<number, string[]> = {
  14: [`template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'`],
  16: [`template template0 locale_provider icu icu_locale 'en' icu_rules '&z < a'`],
  18: [
    `template template0 locale_provider builtin builtin_locale 'C.UTF-8'`,
    `template template0 locale_provider icu icu_locale 'en' icu_rules '&z < a'`,
  ],
}

const columns: Record<number, string> = {
  14: 'datcollate, datctype',
  16: 'datcollate, datctype, datlocprovider, daticulocale, daticurules',
  18: 'datcollate, datctype, datlocprovider, datlocale, daticurules',
}

for (const major of [14, 16, 18]) {
  const missing = tools18.missing ?? (await missingServer(major))
  needs(tools18.missing ? 'pg18-tools' : 'embedded-server', missing)(`a swap on PostgreSQL ${major}`, () => {
    let place: RestorePlace
    beforeAll(async () => {
      place = await openRestorePlace({major, pgBin: tools18.folder})
      await place.backUp()
    })
    afterAll(() => place.end())

    const properties = () =>
      place.server.query(
        `select ${columns[major]}, encoding, pg_get_userbyid(datdba) as owner, datconnlimit, datacl::text,
                shobj_description(oid, 'pg_database') as comment,
                (select json_agg(setconfig order by setrole) from pg_db_role_setting where setdatabase = d.oid) as settings
           from pg_database d where datname = 'target'`,
      )

    test.each(locales[major])('restores, and carries over: %s', async (options) => {
      await place.server.dropDatabase('target')
      await place.server.createDatabase('target', options)
      for (const statement of [
        `comment on database target is 'kept'`,
        'alter database target connection limit 9',
        `alter database target set work_mem = '5MB'`,
        `alter role current_user in database target set work_mem = '6MB'`,
        'revoke temporary on database target from public',
      ])
        await place.server.query(statement)
      const before = await properties()
      const result = await place.restore({strategy: 'swap', safetyBackup: true, jobs: 2, verify: true})
      expect(result).toMatchObject({strategy: 'swap', targetState: 'restored', oldDatabase: null})
      expect(await properties()).toEqual(before)
      expect(await place.server.query('select from sales.orders', 'target')).toHaveLength(2000)
    })
  })
}
