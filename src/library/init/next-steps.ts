import {parseDestination} from '../../storage/open-provider.js'
import {shellWord} from '../../support/shell.js'
import {configName} from './config-text.js'
import {cronInstallation} from './cron-file.js'
import {dockerCommands, railwayNotes} from './docker-files.js'
import {environmentName} from './environment-text.js'
import {kubernetesName, secretCommands} from './kubernetes-file.js'
import {imagePlaceholder, type Artefact, type InitPlan, type Variable} from './plan.js'
import {closedFolder, localFolders} from './refusals.js'
import {serviceName, timerName} from './systemd-files.js'

/** What to do next, in the order of doing; commands work when typed. */
export async function nextSteps(
  plan: InitPlan,
  artefacts: Artefact[],
  variables: Variable[],
): Promise<string[]> {
  const steps: Record<Artefact, (plan: InitPlan, variables: Variable[]) => string[] | Promise<string[]>> = {
    github: gitHubSteps,
    cron: cronSteps,
    systemd: systemdSteps,
    kubernetes: kubernetesSteps,
    docker: dockerCommands,
    railway: railwayNotes,
  }
  const ofArtefacts: string[] = []
  for (const artefact of artefacts) ofArtefacts.push(...(await steps[artefact](plan, variables)))
  const all = [
    ...variables.filter(({isSet}) => !isSet).map(({name, purpose}) => `export ${name}=…   # ${purpose}`),
    'dbbak doctor',
    'dbbak backup --verify auto',
    ...ofArtefacts,
  ]
  return [...new Set(all)]
}

const at = ({folder}: InitPlan, name: string): string => shellWord(`${folder}/${name}`)

function gitHubSteps({destinations}: InitPlan, variables: Variable[]): string[] {
  const fromFile = (name: string) =>
    name === 'GOOGLE_APPLICATION_CREDENTIALS' ? 'GCS_SERVICE_ACCOUNT_KEY' : name
  const secrets = variables.map(({name, isSecret}) =>
    isSecret || name === 'GOOGLE_APPLICATION_CREDENTIALS'
      ? `gh secret set ${fromFile(name)}`
      : `gh variable set ${name}`,
  )
  const names = {s3: 'AWS_S3', gs: 'GCS', azblob: 'AZURE_STORAGE'} as const
  const buckets = destinations.flatMap((destination) => {
    const parsed = parseDestination(destination)
    if (parsed.kind === 'local') return []
    const place = parsed.kind === 'azblob' ? 'CONTAINER' : 'BUCKET'
    const bucket = `gh variable set ${names[parsed.kind]}_${place} --body ${shellWord(parsed.bucket)}`
    if (parsed.prefix === '') return [bucket]
    return [bucket, `gh variable set ${names[parsed.kind]}_PREFIX --body ${shellWord(parsed.prefix)}`]
  })
  return [
    ...secrets,
    ...buckets,
    'gh workflow run database-backup.yml   # once the file is on the default branch',
  ]
}

const fillIn = (plan: InitPlan): string =>
  `Write the secrets into ${at(plan, environmentName)}, and keep it out of git`

/** Only where it is not there already: another version than this one is the user's choice. */
const install = ({isInstalled, version, program}: InitPlan): string[] =>
  isInstalled ? [] : [`npm install --global dbbak@${version}   # the schedule starts ${shellWord(program)}`]

function cronSteps(plan: InitPlan): string[] {
  return [...install(plan), fillIn(plan), cronInstallation(plan)]
}

async function systemdSteps(plan: InitPlan): Promise<string[]> {
  const {isRoot, user, folder} = plan
  const sudo = isRoot ? '' : 'sudo '
  const folders = localFolders(plan).map(shellWord)
  const owner = isRoot ? ` -o ${user}` : ''
  const makeUser = `id ${user} >/dev/null 2>&1 || useradd --system --no-create-home --home-dir ${shellWord(folder)} ${user}`
  return [
    ...install(plan),
    ...(isRoot ? await unreachablePrograms(plan) : []),
    fillIn(plan),
    ...(isRoot ? [makeUser, `chown ${user} ${at(plan, configName)}`] : []),
    ...(folders.length > 0 ? [`install -d -m 700${owner} ${folders.join(' ')}`] : []),
    `${sudo}install -m 644 ${at(plan, serviceName)} ${at(plan, timerName)} /etc/systemd/system/`,
    `${sudo}systemctl daemon-reload`,
    `${sudo}systemctl enable --now ${timerName}`,
    `${sudo}systemctl start ${serviceName}   # a backup now; then: journalctl -u ${serviceName}`,
  ]
}

/** Root's own Node.js is no use to the user of the service. */
async function unreachablePrograms({nodeFolder, program, user}: InitPlan): Promise<string[]> {
  const closed = (await closedFolder(nodeFolder)) ?? (await closedFolder(program))
  if (closed === undefined) return []
  return [
    `Install Node.js and dbbak where the user ${user} can run them, for example below /usr/local: it cannot get into ${closed}. Then run dbbak init again.`,
  ]
}

function kubernetesSteps(plan: InitPlan, variables: Variable[]): string[] {
  return [
    ...(plan.image === imagePlaceholder
      ? [
          `Put the name of your image into ${at(plan, kubernetesName)} (dbbak init --docker writes a Dockerfile for it)`,
        ]
      : []),
    ...secretCommands(variables),
    `kubectl apply -f ${at(plan, kubernetesName)}`,
  ]
}
