import {checkPolicy, defaultPolicy, type RetentionPolicy} from '../engine/retention/policy.js'
import {silent} from '../engine/events.js'
import {DbbakError} from '../support/errors.js'
import {shellWord} from '../support/shell.js'
import {loadConfigFile} from './config-file.js'
import {openContext, openDatabase, type Context, type RunOptions} from './context.js'
import {namedConfig} from './settings.js'

/** Which backups to keep; what is not given is as in the settings. 0 takes a rule out. */
export type RetentionOptions = {[Rule in keyof RetentionPolicy]?: RetentionPolicy[Rule] | undefined}

/** Flag, environment variable, config file, default. @throws DbbakError OPTION_INVALID, CONFIG_INVALID */
export function policyOf(options: RetentionOptions, {settings}: Context): RetentionPolicy {
  const {last, daily, weekly, monthly, yearly, verified, safetyDays, timeZone} = settings.retention.value
  const set: RetentionOptions = {
    keepDays: settings.retentionDays.value,
    keepLast: last,
    keepDaily: daily,
    keepWeekly: weekly,
    keepMonthly: monthly,
    keepYearly: yearly,
    keepVerified: verified,
    safetyKeepDays: safetyDays,
    timeZone,
  }
  const policy = {...defaultPolicy}
  for (const rule of Object.keys(defaultPolicy) as (keyof RetentionPolicy)[])
    Object.assign(policy, {[rule]: options[rule] ?? set[rule] ?? defaultPolicy[rule]})
  checkPolicy(policy)
  return policy
}

/**
 * Finds out before a backup that the policy cannot be meant that is to be applied after it.
 * @throws DbbakError OPTION_INVALID, CONFIG_INVALID
 */
export async function checkRetention(
  options: RunOptions & RetentionOptions & {databaseUrl?: string | undefined},
): Promise<void> {
  const context = await openContext(options, {'database-url': options.databaseUrl})
  policyOf(options, context)
  if (options.database === undefined) await refuseCommonRules(options, context)
}

/**
 * A database that was not chosen by its name in the config file may be one that has rules of its own there. Told by its
 * name alone: an address is written in many ways, and a backup that is gone stays gone.
 */
async function refuseCommonRules(options: RunOptions, context: Context): Promise<void> {
  const {file, names} = await havingOwnRules(options, context)
  if (names.length === 0) return
  const {database} = await openDatabase({...context, events: silent})
  for (const name of names) {
    const own = await openContext({...options, database: name})
    const connection = await openDatabase({...own, events: silent}).catch(() => undefined)
    // Whose URL cannot be had is known by what it is called.
    if ((connection?.database ?? name) !== database) continue
    throw new DbbakError(
      'OPTION_INVALID',
      `${file} gives the database ${name} a retention of its own: ${database} may be that one, and would be pruned by the common rules.`,
      {
        suggestions: [
          `If it is that one: dbbak backup --database ${shellWord(name)} --prune`,
          `If it is another one, name it in ${file} too, and back it up by that name`,
          'Or take the backup without --prune',
        ],
      },
    )
  }
}

/** Where databases have rules of their own in the config file, the common ones would remove what those keep. */
export async function refuseOthersRules(
  options: RunOptions & RetentionOptions,
  context: Context,
): Promise<void> {
  const isSaid = rules.some((rule) => rule !== 'keepVerified' && options[rule] !== undefined)
  if (isSaid) return
  const {
    file,
    names: [name],
  } = await havingOwnRules(options, context)
  if (name === undefined) return
  throw new DbbakError(
    'OPTION_INVALID',
    `${file} gives databases a retention of their own: whose backups are to be pruned?`,
    {
      suggestions: [
        `One database's, by its own rules: dbbak prune --database ${shellWord(name)}`,
        "All databases', by the rules of the command line: dbbak prune --keep-days 90 --dry-run",
      ],
    },
  )
}

/** The databases of the config file that have rules of their own there. */
async function havingOwnRules(
  {config}: RunOptions,
  {env, cwd}: Context,
): Promise<{file: string; names: string[]}> {
  const file = await loadConfigFile({named: namedConfig({config, env}), cwd, env})
  const names = Object.entries(file?.config.databases ?? {}).flatMap(([name, own]) =>
    own.retentionDays !== undefined || 'retention' in own ? [name] : [],
  )
  return {file: file?.name ?? '', names}
}

const rules = [
  'keepDays',
  'keepLast',
  'keepDaily',
  'keepWeekly',
  'keepMonthly',
  'keepYearly',
  'keepVerified',
] as const
