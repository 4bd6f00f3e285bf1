/** What there is to choose from, each in a sentence. */
export const placeChoices = [
  {name: 'A folder', value: './backups', description: 'On this machine or a mounted disk.'},
  {name: 'Amazon S3 or a compatible store', value: 's3://my-backups/shop', description: 'Off this machine.'},
  {name: 'Google Cloud Storage', value: 'gs://my-backups/shop', description: 'Off this machine.'},
  {name: 'Azure Blob Storage', value: 'azblob://my-backups/shop', description: 'Off this machine.'},
]

export const formatChoices = [
  {
    name: 'custom',
    value: 'custom' as const,
    description: 'One compressed file; any table can be restored from it. Right for most.',
  },
  {
    name: 'directory',
    value: 'directory' as const,
    description: 'One file a table, dumped and restored in parallel. For large databases.',
  },
  {
    name: 'plain',
    value: 'plain' as const,
    description: 'SQL that can be read; it is restored as a whole, one statement after the other.',
  },
]

export const serverChoices = [
  {
    name: 'On a throw-away server that dbbak starts',
    value: false,
    description: 'Needs PostgreSQL installed here, or 25 MB from npm.',
  },
  {name: 'On a test server of mine', value: true, description: 'dbbak makes its own database there.'},
]

export const artefactChoices = [
  {name: 'GitHub Actions', value: 'github' as const, description: 'Daily, verified, an issue on failure.'},
  {name: 'cron', value: 'cron' as const, description: 'A line for the crontab of this machine.'},
  {name: 'systemd', value: 'systemd' as const, description: 'A hardened service and its timer.'},
  {name: 'Kubernetes', value: 'kubernetes' as const, description: 'A CronJob without privileges.'},
  {name: 'Docker', value: 'docker' as const, description: 'A Dockerfile with dbbak and client tools.'},
  {name: 'Railway', value: 'railway' as const, description: 'A service with a schedule.'},
]
