import {relative, sep} from 'node:path'
import type {InitPlan} from '../plan.js'
import {backupJob} from './backup-job.js'
import {reportJob} from './report-job.js'
import {verifyJob} from './verify-job.js'

export {pinned} from './steps.js'

export const workflowPath = '.github/workflows/database-backup.yml'

const usualVerification = '0 3 * * 0'

type Choices = Pick<InitPlan, 'schedule' | 'keepDays' | 'version'> &
  Partial<Pick<InitPlan, 'folder' | 'repository'>>

/** The workflow of GitHub Actions: a backup every day, all recent ones verified every week, one issue on failure. */
export function workflowText({schedule, keepDays, version, ...places}: Choices): string {
  const verification = schedule.cron === usualVerification ? '0 5 * * 0' : usualVerification
  const folder = folderInRepository(places)
  return template
    .replaceAll('%{', '${')
    .replaceAll('<SCHEDULE>', schedule.cron)
    .replaceAll('<VERIFICATION>', verification)
    .replaceAll('<DAYS>', String(Math.min(keepDays, 90))) // GitHub keeps nothing for longer
    .replaceAll('<DBBAK>', `dbbak@${version}`)
    .replaceAll('<IN-FOLDER>', folder === '' ? '' : inFolder(folder))
    .replaceAll('<FOLDER>', folder === '' ? '' : `${folder}/`)
}

/** Where the config file is, from the top of the repository; '' for the top itself. */
export function folderInRepository({
  folder,
  repository,
}: Partial<Pick<InitPlan, 'folder' | 'repository'>>): string {
  if (folder === undefined || repository === undefined) return ''
  return relative(repository, folder).split(sep).join('/')
}

/** Scripts run there; what actions take, and hashFiles, counts from the top. */
const inFolder = (folder: string): string => `    defaults:
      run:
        shell: bash
        working-directory: '${folder}'
`

const template = `# Written by dbbak init --github. Backs the database up every day and verifies what it took; verifies all recent
# backups every Sunday; opens one issue when something fails, and closes it when it works again.
#
# Secret to set:       DATABASE_URL               gh secret set DATABASE_URL
# For a cloud too:     variable AWS_S3_BUCKET, GCS_BUCKET or AZURE_STORAGE_CONTAINER, and its credentials (below)
# To switch it off:    gh variable set DATABASE_BACKUP --body off
#
# GitHub stops schedules of public repositories after 60 days without a commit: watch the age of the newest backup
# from elsewhere too, for example with: dbbak status --max-age 26h
name: database-backup

on:
  schedule:
    - cron: '<SCHEDULE>' # back up (UTC)
    - cron: '<VERIFICATION>' # verify all recent backups (UTC)
  workflow_dispatch:
    inputs:
      task:
        description: What to do
        type: choice
        options: [backup, verify]
        default: backup
      upload:
        description: Upload the backup to the cloud too
        type: boolean
        default: false

permissions:
  contents: read

# A run waits for the one before; a backup that is under way is never cancelled.
concurrency:
  group: database-backup-%{{ github.event.schedule == '<VERIFICATION>' && 'verify' || inputs.task || 'backup' }}
  cancel-in-progress: false

defaults:
  run:
    shell: bash

jobs:
${backupJob}
${verifyJob}
${reportJob}`
