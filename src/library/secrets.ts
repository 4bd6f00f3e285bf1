import {silent} from '../engine/events.js'
import {openDatabase, openTestDatabase, type Context} from './context.js'
import {hideSecretValues, mask, redactSecrets} from './redaction.js'

/**
 * Hides in a text that others wrote what must not be shown: passwords of the databases, what the config file holds of
 * secrets, and the environment.
 */
export async function hidingOf(context: Context): Promise<(text: string) => string> {
  const quiet = {...context, events: silent}
  const opened = await Promise.allSettled([openDatabase(quiet), openTestDatabase(quiet)])
  const connections = opened.flatMap((one) => (one.status === 'fulfilled' ? (one.value ?? []) : []))
  const {secrets} = context.settings
  return (text) => {
    const known = secrets.reduce((hidden, one) => hidden.replaceAll(one, mask), text)
    const unknown = connections.reduce((hidden, one) => one.hidePasswords(hidden, mask), known)
    return redactSecrets(hideSecretValues(unknown, context.env))
  }
}
