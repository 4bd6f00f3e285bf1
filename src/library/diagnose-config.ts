import {problem} from '../engine/doctor/check-database.js'
import type {DoctorCheck} from '../engine/doctor/diagnosis.js'
import {setUpChannels} from '../notify/channels.js'
import {DbbakError} from '../support/errors.js'
import type {Context} from './context.js'
import {parseHooks} from './hooks.js'
import {testNotifications} from './notices.js'

/** What the config file lacks, the channels and the hooks. */
export async function configChecks(context: Context, sendsTest: boolean): Promise<DoctorCheck[]> {
  return [
    ...faults(context),
    ...hooks(context),
    ...(sendsTest ? await testedChannels(context) : untestedChannels(context)),
  ]
}

/** Those that a check of their own tells of. */
const toldElsewhere = ['databaseUrl', 'testDatabaseUrl', 'to', 'backupDir', 'notifications', 'hooks']

/** What one database lacks stops nobody but that one. */
function faults({settings}: Context): DoctorCheck[] {
  return settings.faults.flatMap(({path, error}) => {
    if (toldElsewhere.includes(path[0] ?? '')) return []
    const check = problem('config file', error)
    return [path[0] === 'databases' ? {...check, status: 'warning' as const} : check]
  })
}

function hooks({settings}: Context): DoctorCheck[] {
  return attempt('hooks', () => {
    parseHooks(settings.hooks)
    return []
  })
}

function untestedChannels({settings: {notifications}, env}: Context): DoctorCheck[] {
  return attempt('notifications', () =>
    setUpChannels(notifications, env).unset.map(({name, reason}) => notTold(name, reason)),
  )
}

async function testedChannels(context: Context): Promise<DoctorCheck[]> {
  const {notifications} = context.settings
  const wrong = attempt('notifications', () => {
    setUpChannels(notifications, context.env)
    return []
  })
  if (wrong.length > 0) return wrong
  const sent = await testNotifications({...context, notifications})
  if (sent.length === 0) return [noChannel]
  return sent.map(({channel, status, reason, durationMs}) =>
    status === 'sent'
      ? {name: 'notifications', status: 'ok', message: `${channel}: a test was sent in ${durationMs} ms`}
      : notTold(channel, reason ?? 'unknown'),
  )
}

const noChannel: DoctorCheck = {
  name: 'notifications',
  status: 'not-set',
  message: 'No channel is set: see "Notifications" in the README.',
}

const notTold = (channel: string, reason: string): DoctorCheck => ({
  name: 'notifications',
  status: 'error',
  message: `${channel}: NOTIFICATION_FAILED: ${reason}`,
  fix: 'Correct the address or the secret of the channel, then: dbbak doctor --notify',
})

function attempt(name: string, work: () => DoctorCheck[]): DoctorCheck[] {
  try {
    return work()
  } catch (error) {
    if (error instanceof DbbakError) return [problem(name, error)]
    throw error
  }
}
