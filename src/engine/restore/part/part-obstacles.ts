import type {Client} from 'pg'
import type {Finding} from '../findings.js'
import {choosePart} from './choose-part.js'
import {readDependents, readForeignRelations, type Dependent} from './doomed-objects.js'
import {
  commandFor,
  nameOf,
  patternOf,
  relationKinds,
  shown,
  type ChosenPart,
  type RelationName,
} from './part.js'
import {readLostPublications, readMissing, type MissingNeed} from './part-needs.js'

/** More would hide the first. */
const mostFindings = 20

/**
 * What stands against replacing only this part of the target: things that are not in the part and depend on it, and
 * things that the part depends on and the target lacks. Only reads.
 * @param backupId for the commands that are suggested
 */
export async function findPartObstacles(
  client: Client,
  chosen: ChosenPart,
  backupId: string,
): Promise<Finding[]> {
  const obstacles = await readObstacles(client, chosen)
  const wider = await widen(client, chosen, obstacles)
  const command = wider && commandFor(backupId, wider.part)
  const findings = [
    ...obstacles.dependents.map((dependent) => hasDependent(dependent, command)),
    ...obstacles.missing.map((missing) => needsOther(missing, command, backupId)),
  ]
  const lost = await readLostPublications(client, chosen)
  const foreign = await readForeignRelations(client, chosen)
  findings.push(...foreign.map(ofOthers))
  return [...findings.slice(0, mostFindings), ...lost.map(leavesPublication)]
}

interface Obstacles {
  dependents: Dependent[]
  missing: MissingNeed[]
}

async function readObstacles(client: Client, chosen: ChosenPart): Promise<Obstacles> {
  return {dependents: await readDependents(client, chosen), missing: await readMissing(client, chosen)}
}

const mostSteps = 10

/** The part with all that it takes to make it possible; undefined where that is not only tables and views of the backup. */
async function widen(
  client: Client,
  chosen: ChosenPart,
  obstacles: Obstacles,
): Promise<ChosenPart | undefined> {
  let wider = chosen
  let left = obstacles
  for (let step = 0; step < mostSteps; step++) {
    if (left.dependents.length === 0 && left.missing.length === 0) return wider
    const more = additions(wider, left)
    if (more === undefined) return undefined
    const {schemas, tables} = wider.part
    wider = choosePart(chosen.archive, {schemas, tables: [...tables, ...more]})
    left = await readObstacles(client, wider)
  }
  return undefined
}

/** @returns undefined where something that stands in the way cannot be added */
function additions({archive, relations}: ChosenPart, {dependents, missing}: Obstacles): string[] | undefined {
  const chosen = new Set(relations.map(shown))
  const known = new Set(
    archive.filter(({kind}) => relationKinds.has(kind)).map((entry) => shown(nameOf(entry))),
  )
  const wanted = [
    ...dependents.map(({relation}) => relation),
    ...missing.map(({need}) => (relationKinds.has(need.kind) ? nameOf(need) : null)),
  ]
  const isNew = (relation: RelationName | null) =>
    relation !== null && known.has(shown(relation)) && !chosen.has(shown(relation))
  return wanted.every(isNew) ? [...new Set(wanted.flatMap((name) => (name ? [shown(name)] : [])))] : undefined
}

function hasDependent(
  {what, on, foreignKey, relation, removal}: Dependent,
  command: string | undefined,
): Finding {
  const message =
    foreignKey !== null && relation
      ? `The foreign key ${patternOf(foreignKey)} of ${shown(relation)} points to ${on}, which would be replaced.`
      : `The ${what} depends on the ${on}, which would be replaced.`
  const remove = removal === null ? '' : `, or remove it first and make it again afterwards: ${removal}`
  return {
    code: 'PART_HAS_DEPENDENTS',
    severity: 'error',
    message: message.replace('points to table ', 'points to '),
    fix: command ? `Restore both: ${command}` : `Restore the whole backup${remove}`,
  }
}

function needsOther({entry, need}: MissingNeed, command: string | undefined, backupId: string): Finding {
  const needed = `${need.kind.toLowerCase()} ${shown(nameOf(need))}`
  const what = nameInWords(entry.kind, entry.tag, entry.schema)
  const wholeSchema = commandFor(backupId, {schemas: [patternOf(need.schema)], tables: []})
  return {
    code: 'PART_NEEDS_OTHERS',
    severity: 'error',
    message: `The ${what} needs the ${needed}, which is neither selected nor in the target.`,
    fix: command
      ? `Restore both: ${command}`
      : `Make it first, or restore ${need.schema ? `all of its schema: ${wholeSchema}` : 'the whole backup'}`,
  }
}

function nameInWords(kind: string, tag: string, schema: string): string {
  if (kind !== 'FK CONSTRAINT')
    return `${kind.toLowerCase()} ${relationKinds.has(kind) ? shown({schema, name: tag}) : tag}`
  return `foreign key ${tag.split(' ').at(-1)} of ${patternOf(schema)}.${tag.split(' ').slice(0, -1).join(' ')}`
}

function ofOthers({schema, name, owner, role}: RelationName & {owner: string; role: string}): Finding {
  return {
    code: 'OBJECTS_OF_OTHERS',
    severity: 'error',
    message: `${shown({schema, name})} belongs to ${owner}: the role ${role} may not replace it.`,
    fix: `Restore as a superuser, or: GRANT "${owner}" TO "${role}"`,
  }
}

function leavesPublication({
  publication,
  table,
  statement,
}: {
  publication: string
  table: string
  statement: string
}): Finding {
  return {
    code: 'PART_LEAVES_PUBLICATION',
    severity: 'warning',
    message: `${table} will no longer be in the publication ${patternOf(publication)}, which the backup does not know it to be in.`,
    fix: `Afterwards: ${statement}`,
  }
}
