import {parseDestination} from '../../storage/open-provider.js'
import {shellWord} from '../../support/shell.js'
import {cronName} from './cron-file.js'
import {dockerName, railwayNotes} from './docker-files.js'
import {environmentName} from './environment-text.js'
import {kubernetesName, secretName} from './kubernetes-file.js'
import {imagePlaceholder, type Artefact, type InitPlan, type Variable} from './plan.js'
import {localFolders, serviceName, timerName} from './systemd-files.js'

/** What to do next, in the order of doing; commands work when typed. */
export function nextSteps(plan: InitPlan, artefacts: Artefact[], variables: Variable[]): string[] {
  const steps: Record<Artefact, (plan: InitPlan, variables: Variable[]) => string[]> = {
    github: gitHubSteps,
    cron: cronSteps,
    systemd: systemdSteps,
    kubernetes: kubernetesSteps,
    docker: () => [`docker build -f ${dockerName} -t dbbak .`],
    railway: railwayNotes,
  }
  const all = [
    ...variables.filter(({isSet}) => !isSet).map(({name, purpose}) => `export ${name}=…   # ${purpose}`),
    'dbbak doctor',
    'dbbak backup --verify auto',
    ...artefacts.flatMap((artefact) => steps[artefact](plan, variables)),
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

function cronSteps(plan: InitPlan): string[] {
  return [
    `npm install --global dbbak@${plan.version}`,
    fillIn(plan),
    `(crontab -l 2>/dev/null; cat ${at(plan, cronName)}) | crontab -`,
  ]
}

function systemdSteps(plan: InitPlan): string[] {
  const {isRoot, user} = plan
  const sudo = isRoot ? '' : 'sudo '
  const folders = localFolders(plan).map(shellWord)
  const owner = isRoot ? ` -o ${user}` : ''
  return [
    `npm install --global dbbak@${plan.version}`,
    fillIn(plan),
    ...(isRoot
      ? [`useradd --system --no-create-home ${user}`, `chown ${user} ${at(plan, 'dbbak.config.yaml')}`]
      : []),
    ...(folders.length > 0 ? [`install -d -m 700${owner} ${folders.join(' ')}`] : []),
    `${sudo}install -m 644 ${at(plan, serviceName)} ${at(plan, timerName)} /etc/systemd/system/`,
    `${sudo}systemctl daemon-reload`,
    `${sudo}systemctl enable --now ${timerName}`,
    `${sudo}systemctl start ${serviceName}   # a backup now; then: journalctl -u ${serviceName}`,
  ]
}

function kubernetesSteps(plan: InitPlan, variables: Variable[]): string[] {
  // Read from a pipe: what stands in a command line can be seen by everybody on the machine.
  const pairs = variables.map(({name}) => ` ${name} "$${name}"`).join('')
  return [
    ...(plan.image === imagePlaceholder
      ? [
          `Put the name of your image into ${at(plan, kubernetesName)} (dbbak init --docker writes a Dockerfile for it)`,
        ]
      : []),
    `printf '%s=%s\\n'${pairs} | kubectl create secret generic ${secretName} --from-env-file=/dev/stdin`,
    `kubectl apply -f ${at(plan, kubernetesName)}`,
  ]
}
