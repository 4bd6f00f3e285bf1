import type {Client} from 'pg'
import {asQueryError} from '../../postgres/connect.js'
import {quoteIdentifier} from '../../postgres/identifiers.js'
import type {Manifest} from '../manifest.js'

/** A dump of single tables does not hold the schemas they are in: makes those that are missing. */
export async function createSelectedSchemas(client: Client, {selection, content}: Manifest): Promise<void> {
  if (!selection?.tables?.length) return
  const all = [...content.tables, ...content.sequences, ...(content.materializedViews ?? [])]
  try {
    for (const schema of new Set(all.map(({schema}) => schema)))
      await client.query(`create schema if not exists ${quoteIdentifier(schema)}`)
  } catch (error) {
    throw asQueryError(error, 'creating the schemas of the selected tables')
  }
}
