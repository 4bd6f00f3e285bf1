import {checkPolicy, defaultPolicy, type RetentionPolicy} from '../engine/retention/policy.js'
import {DbbakError} from '../support/errors.js'
import {shellWord} from '../support/shell.js'
import {loadConfigFile} from './config-file.js'
import {openContext, type Context, type RunOptions} from './context.js'
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

/** Finds out beforehand that a policy cannot be meant. @throws DbbakError OPTION_INVALID, CONFIG_INVALID */
export async function checkRetention(options: RunOptions & RetentionOptions): Promise<void> {
  policyOf(options, await openContext(options))
}

/** Where databases have rules of their own in the config file, the common ones would remove what those keep. */
export async function refuseOthersRules(
  options: RunOptions & RetentionOptions,
  {env, cwd}: Context,
): Promise<void> {
  const isSaid = rules.some((rule) => rule !== 'keepVerified' && options[rule] !== undefined)
  if (isSaid) return
  const file = await loadConfigFile({named: namedConfig({config: options.config, env}), cwd, env})
  const [name] =
    Object.entries(file?.config.databases ?? {}).find(
      ([, own]) => own.retentionDays !== undefined || 'retention' in own,
    ) ?? []
  if (name === undefined) return
  throw new DbbakError(
    'OPTION_INVALID',
    `${file?.name} gives databases a retention of their own: whose backups are to be pruned?`,
    {
      suggestions: [
        `One database's, by its own rules: dbbak prune --database ${shellWord(name)}`,
        "All databases', by the rules of the command line: dbbak prune --keep-days 90 --dry-run",
      ],
    },
  )
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
