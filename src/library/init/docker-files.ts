import {parseDestination} from '../../storage/open-provider.js'
import {shellWord} from '../../support/shell.js'
import {configName} from './config-text.js'
import {usualMajor, type InitPlan, type PlannedFile, type Variable} from './plan.js'
import {googleKey} from './variables.js'

export const dockerName = 'dbbak.Dockerfile'
export const railwayName = 'dbbak.railway.json'

/** An image with dbbak and the client tools; whoever runs it brings the secrets. */
export function dockerFile(plan: InitPlan, variables: Variable[]): PlannedFile {
  const {serverMajor, version} = plan
  const command = JSON.stringify(containerCommand(plan).slice(1)).replaceAll(',', ', ')
  const text = `# An image with dbbak and PostgreSQL's client tools. No secret is in it: they come with each run.
${dockerCommands(plan, variables)
  .map((command) => `#   ${command}`)
  .join('\n')}
FROM node:24-bookworm-slim

# At least the server's major version. The server program beside it is for restore tests, and starts none by itself.
ARG PG_MAJOR=${serverMajor ?? usualMajor}
RUN apt-get update \\
 && apt-get install -y --no-install-recommends ca-certificates postgresql-common \\
 && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \\
 && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \\
 && apt-get install -y --no-install-recommends "postgresql-client-$PG_MAJOR" "postgresql-$PG_MAJOR" \\
 && rm -rf /var/lib/apt/lists/*

ARG DBBAK_VERSION=${version}
RUN npm install --global "dbbak@$DBBAK_VERSION" && npm cache clean --force \\
 && install -d -m 0700 -o node -g node /backups

# Its folder is where the config file is looked for; secrets in it stand as \${NAME}.
WORKDIR /home/node
COPY --chown=node:node ${configName} ./
USER node
ENTRYPOINT ["dbbak"]
CMD ${command}
`
  return {path: dockerName, text, mode: 0o644}
}

/** Builds the image and takes a backup with it; the secrets go from this shell's environment to the container's. */
export function dockerCommands({destinations}: InitPlan, variables: Variable[]): string[] {
  const onDisk = destinations.some((destination) => parseDestination(destination).kind === 'local')
  const settings = variables.map(({name}) =>
    name === googleKey
      ? `-v "$${googleKey}:/run/gcs-key.json:ro" -e ${googleKey}=/run/gcs-key.json`
      : `-e ${name}`,
  )
  const volume = onDisk ? ['-v "$PWD/backups:/backups"'] : []
  return [
    `docker build -f ${dockerName} -t dbbak .`,
    ...(onDisk ? ['sudo install -d -m 700 -o 1000 -g 1000 backups   # the user in the image'] : []),
    ['docker run --rm --init', ...settings, ...volume, 'dbbak'].join(' '),
  ]
}

/** Inside a container every folder is the one volume, whatever it is called elsewhere. */
function destinationsInside({destinations}: InitPlan): string[] {
  const inside = destinations.map((destination) =>
    parseDestination(destination).kind === 'local' ? '/backups' : destination,
  )
  return [...new Set(inside)]
}

/** What runs in a container; all is said by options, so that it works without the config file too. */
export function containerCommand(plan: InitPlan): string[] {
  const to = destinationsInside(plan).flatMap((destination) => ['--to', destination])
  return ['dbbak', 'backup', '--globals', '--format', plan.format, ...to, '--verify', 'auto', '--prune']
}

/** A service of Railway that is started by its own schedule, runs to its end, and is not started again. */
export function railwayFiles(plan: InitPlan, variables: Variable[]): PlannedFile[] {
  const command = containerCommand(plan).map(shellWord).join(' ')
  const settings = {
    $schema: 'https://railway.com/railway.schema.json',
    build: {builder: 'DOCKERFILE', dockerfilePath: dockerName},
    deploy: {
      startCommand: variables.some(({name}) => name === googleKey) ? withGoogleKey(command) : command,
      cronSchedule: plan.schedule.cron,
      restartPolicyType: 'NEVER',
    },
  }
  return [
    dockerFile(plan, variables),
    {path: railwayName, text: `${JSON.stringify(settings, undefined, 2)}\n`, mode: 0o644},
  ]
}

/** Google's key is a file, and Railway has variables only. */
function withGoogleKey(command: string): string {
  const file = '/tmp/gcs-key.json'
  const write = `umask 077; printf %s "$GCS_SERVICE_ACCOUNT_KEY" > ${file}; unset GCS_SERVICE_ACCOUNT_KEY`
  return `sh -c ${shellWord(`${write}; ${googleKey}=${file} exec ${command}`)}`
}

/** What is to be done at Railway by hand. */
export function railwayNotes({destinations}: InitPlan, variables: Variable[]): string[] {
  const onDisk = destinations.some((destination) => parseDestination(destination).kind === 'local')
  const others = variables
    .map(({name}) => (name === googleKey ? "GCS_SERVICE_ACCOUNT_KEY (the key file's text)" : name))
    .filter((name) => name !== 'DATABASE_URL')
  return [
    `Railway: add a service from this repository, with ${railwayName} as its config file (Settings, Config-as-code)`,
    'Railway: give it the variable DATABASE_URL=${{Postgres.DATABASE_URL}}, so that it uses the private network',
    ...(others.length > 0 ? [`Railway: give it the variables ${others.join(', ')} too`] : []),
    ...(onDisk
      ? [
          'Railway: a folder is gone when the run ends; attach a volume at /backups, which belongs to root, and set RAILWAY_RUN_UID=0; or use a bucket: --to s3://…',
        ]
      : []),
  ]
}
