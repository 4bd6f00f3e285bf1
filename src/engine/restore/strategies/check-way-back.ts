import type {Client} from 'pg'
import {asQueryError} from '../../../postgres/query-errors.js'
import {locksOfLargestStep} from '../../../postgres/empty-in-steps.js'
import type {ServerDescription} from '../../../postgres/server.js'
import {DbbakError} from '../../../support/errors.js'
import {checkDigests} from '../../archive/read-to-end.js'
import type {StoredBackup} from '../../archive/open-archive.js'
import {recommendedLocks} from '../../backup/lock-check.js'
import {activity} from '../../events.js'
import {usableLocks} from '../target.js'
import type {ReplaceDeps} from './replacement.js'

/**
 * Makes sure, before anything is dropped in a way that no server takes back, that it can be dropped to the end and
 * that the safety backup can be restored by this role.
 * @throws DbbakError LOCK_TABLE_TOO_SMALL, RESTORE_FAILED; what is wrong with the safety backup
 */
export async function checkWayBack(
  client: Client,
  server: ServerDescription,
  safety: StoredBackup | undefined,
  {events, signal}: ReplaceDeps,
): Promise<void> {
  const locks = await locksOfLargestStep(client, server.isSuperuser)
  if (locks > usableLocks(server.lockTable)) throw tooLarge(locks, server)
  if (!safety) return
  if (!server.isSuperuser) await refuseWhatOnlyOthersCanMake(client, safety, server)
  await activity(events, `Reading ${safety.entry.archive}`, () =>
    checkDigests(safety, signal, (bytes) => events.activityProgress?.({bytes})),
  )
}

function tooLarge(locks: number, {lockTable}: ServerDescription): DbbakError {
  return new DbbakError(
    'LOCK_TABLE_TOO_SMALL',
    `Also step by step, emptying the database takes some ${locks} locks at once; the server has room for ${lockTable.capacity}.`,
    {
      suggestions: [
        `On the server: ALTER SYSTEM SET max_locks_per_transaction = ${recommendedLocks(locks, lockTable)}; then restart it.`,
      ],
    },
  )
}

/** What an ordinary role may drop, being its owner or its schema's, and could not make again. One phrase each. */
const notMadeByOrdinaryRoles = `
  select format('objects of the role %I', name) as what from unnest($1::text[]) w(name)
   where not pg_catalog.pg_has_role(name, $2)
  union all
  select format('the default privileges of the role %I', pg_catalog.pg_get_userbyid(defaclrole)) from pg_catalog.pg_default_acl
   where not pg_catalog.pg_has_role(defaclrole, $2)
  union all
  select format('the extension %I', x.extname) from pg_catalog.pg_extension x
    join pg_catalog.pg_available_extension_versions v on v.name = x.extname and v.version = x.extversion
   where pg_catalog.pg_has_role(x.extowner, 'usage') and v.superuser and not v.trusted
  union all
  select format('the function %s', p.oid::pg_catalog.regprocedure) from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
   where p.oid >= 16384 and p.prokind <> 'a' and not l.lanpltrusted and l.lanname <> 'sql'
     and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid and d.deptype in ('e', 'i'))
  union all
  select format('privileges on %s that its owner did not grant', c.oid::pg_catalog.regclass) from pg_catalog.pg_class c
   where c.oid >= 16384 and exists (select from pg_catalog.aclexplode(c.relacl) a where a.grantor <> c.relowner)
  limit 6`

async function refuseWhatOnlyOthersCanMake(
  client: Client,
  {entry}: StoredBackup,
  {role, major}: ServerDescription,
): Promise<void> {
  const {content} = entry.manifest
  const owners = content.owners ?? content.roles
  const {rows} = await client
    .query<{what: string}>(notMadeByOrdinaryRoles, [owners, major >= 16 ? 'set' : 'member'])
    .catch((error: unknown) => {
      throw asQueryError(error, 'looking at what the target holds')
    })
  if (rows.length === 0) return
  throw new DbbakError(
    'RESTORE_FAILED',
    `The role ${role} could drop what it could not put back after a failure: ${rows.map(({what}) => what).join(', ')}.`,
    {
      suggestions: [
        'Restore as a superuser.',
        'Or into a new database beside it: dbbak restore --strategy swap',
      ],
    },
  )
}
