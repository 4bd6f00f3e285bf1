import type {PlannedFile, Variable} from './plan.js'

export const environmentName = 'dbbak.env'

/** A file for the secrets of schedules on this machine; init writes the names, the user the values. */
export function environmentFile(variables: Variable[]): PlannedFile {
  // An empty key would be taken for one, and stand in the way of a role.
  const lines = variables.flatMap(({name, purpose, isOptional}) => [
    `# ${purpose}`,
    `${isOptional ? '# ' : ''}${name}=''`,
    '',
  ])
  const text = [
    '# The secrets of dbbak on this machine, read by cron and systemd. Keep this file out of git, and at mode 0600.',
    `# Between the quotes as it is; a ' in a value is written %27 in a URL.`,
    '',
    ...lines,
  ].join('\n')
  return {path: environmentName, text, mode: 0o600, isTheUsers: true}
}
