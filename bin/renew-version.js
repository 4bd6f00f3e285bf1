// `npm version`: writes the version of package.json into what names it, the workflow and the action. After a build.
import {readFileSync, writeFileSync} from 'node:fs'
import {fileURLToPath} from 'node:url'
import {parseSchedule} from '../dist/library/init/cron.js'
import {workflowPath, workflowText} from '../dist/library/init/github/workflow.js'
import {defaultKeepDays, defaultSchedule} from '../dist/library/init/initialise.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const {version} = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))

const schedule = parseSchedule(defaultSchedule)
writeFileSync(root + workflowPath, workflowText({schedule, keepDays: defaultKeepDays, version}))

const action = readFileSync(`${root}action.yml`, 'utf8')
const ofVersion = /(description: The version of dbbak\n +default: )\S+/
if (!ofVersion.test(action)) throw new Error('action.yml names no version.')
writeFileSync(
  `${root}action.yml`,
  action.replace(ofVersion, (_, before) => before + version),
)
