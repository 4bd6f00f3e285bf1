import type {Client} from 'pg'
import type {ServerDescription} from '../../postgres/server.js'
import type {Finding} from './findings.js'
import {query} from './target.js'

interface Subject {
  client: Client
  server: ServerDescription
}

const mine = (owner: string) => `pg_catalog.pg_has_role(${owner}, 'usage')`
const notOfExtension = (catalog: string) =>
  `not exists (select from pg_catalog.pg_depend e where e.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and e.objid = o.oid and e.deptype = 'e')`

/** Dropping takes the object's owner or its schema's. */
const inSchemas = (catalog: string, type: string, owner: string, namespace: string) =>
  `select o.oid::pg_catalog.${type}::text as name, pg_catalog.pg_get_userbyid(o.${owner}) as owner
     from pg_catalog.${catalog} o join pg_catalog.pg_namespace n on n.oid = o.${namespace}
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and ${notOfExtension(catalog)}
      and not ${mine(`o.${owner}`)} and not ${mine('n.nspowner')}`

const foreignObjects = [
  `select 'schema ' || pg_catalog.quote_ident(nspname) as name, pg_catalog.pg_get_userbyid(nspowner) as owner from pg_catalog.pg_namespace o
    where nspname !~ '^pg_' and nspname not in ('information_schema', 'public') and ${notOfExtension('pg_namespace')} and not ${mine('nspowner')}
      and not exists (select from pg_catalog.pg_extension x where x.extnamespace = o.oid)`,
  `${inSchemas('pg_class', 'regclass', 'relowner', 'relnamespace')} and o.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and o.relpersistence <> 't'`,
  inSchemas('pg_proc', 'regprocedure', 'proowner', 'pronamespace'),
  `select 'large object ' || oid, pg_catalog.pg_get_userbyid(lomowner) from pg_catalog.pg_largeobject_metadata where not ${mine('lomowner')}`,
  `select 'publication ' || pg_catalog.quote_ident(pubname), pg_catalog.pg_get_userbyid(pubowner) from pg_catalog.pg_publication where not ${mine('pubowner')}`,
  `select 'event trigger ' || pg_catalog.quote_ident(evtname), pg_catalog.pg_get_userbyid(evtowner) from pg_catalog.pg_event_trigger o
    where ${notOfExtension('pg_event_trigger')} and not ${mine('evtowner')}`,
]

/** What belongs to others cannot be dropped, and a restore replaces everything. */
export async function checkForeignObjects({client, server}: Subject): Promise<Finding[]> {
  if (server.isSuperuser) return []
  const rows = await query<{name: string; owner: string}>(
    client,
    `${foreignObjects.join(' union all ')} limit 100`,
  )
  if (rows.length === 0) return []
  const named = rows.slice(0, 5).map(({name, owner}) => `${name} of ${owner}`)
  const owners = [...new Set(rows.map(({owner}) => owner))].slice(0, 3)
  return [
    {
      code: 'OBJECTS_OF_OTHERS',
      severity: 'error',
      message: `The target holds what the role ${server.role} may not drop: ${named.join(', ')}${rows.length > 5 ? ', …' : ''}.`,
      fix: `Restore as a superuser, or: ${owners.map((owner) => `GRANT "${owner}" TO "${server.role}"`).join('; ')}`,
    },
  ]
}

/** They hold their locks without a session, for ever. */
export async function checkPreparedTransactions({client}: Subject): Promise<Finding[]> {
  const rows = await query<{name: string}>(
    client,
    'select gid as name from pg_catalog.pg_prepared_xacts where database = pg_catalog.current_database() order by prepared',
  )
  if (rows.length === 0) return []
  return [
    {
      code: 'PREPARED_TRANSACTIONS',
      severity: 'error',
      message: `The target has prepared transactions, which hold their locks until they are ended: ${rows.map(({name}) => name).join(', ')}.`,
      fix: `End each of them: COMMIT PREPARED '${rows[0]?.name}' or ROLLBACK PREPARED '${rows[0]?.name}'`,
    },
  ]
}
