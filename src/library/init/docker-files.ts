import {parseDestination} from '../../storage/open-provider.js'
import {shellWord} from '../../support/shell.js'
import {configName} from './config-text.js'
import {usualMajor, type InitPlan, type PlannedFile} from './plan.js'

export const dockerName = 'dbbak.Dockerfile'
export const railwayName = 'dbbak.railway.json'

/** An image with dbbak and the client tools; whoever runs it brings the secrets. */
export function dockerFile(plan: InitPlan): PlannedFile {
  const {serverMajor, version} = plan
  const command = JSON.stringify(containerCommand(plan).slice(1)).replaceAll(',', ', ')
  const text = `# An image with dbbak and PostgreSQL's client tools. No secret is in it: they come with each run.
#   docker build -f ${dockerName} -t dbbak .
#   docker run --rm --init -e DATABASE_URL -v "$PWD/backups:/backups" dbbak
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
  return ['dbbak', 'backup', '--format', plan.format, ...to, '--verify', 'auto', '--prune']
}

/** A service of Railway that is started by its own schedule, runs to its end, and is not started again. */
export function railwayFiles(plan: InitPlan): PlannedFile[] {
  const settings = {
    $schema: 'https://railway.com/railway.schema.json',
    build: {builder: 'DOCKERFILE', dockerfilePath: dockerName},
    deploy: {
      startCommand: containerCommand(plan).map(shellWord).join(' '),
      cronSchedule: plan.schedule.cron,
      restartPolicyType: 'NEVER',
    },
  }
  return [
    dockerFile(plan),
    {path: railwayName, text: `${JSON.stringify(settings, undefined, 2)}\n`, mode: 0o644},
  ]
}

/** What is to be done at Railway by hand. */
export function railwayNotes({destinations}: InitPlan): string[] {
  const onDisk = destinations.some((destination) => parseDestination(destination).kind === 'local')
  return [
    `Railway: add a service from this repository, with ${railwayName} as its config file (Settings, Config-as-code)`,
    'Railway: give it the variable DATABASE_URL=${{Postgres.DATABASE_URL}}, so that it uses the private network',
    ...(onDisk
      ? [
          'Railway: a folder is gone when the run ends; attach a volume at /backups, or use a bucket: --to s3://…',
        ]
      : []),
  ]
}
