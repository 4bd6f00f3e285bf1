import {stringify} from 'yaml'
import {parseDestination} from '../../storage/open-provider.js'
import {containerCommand} from './docker-files.js'
import {imagePlaceholder, type InitPlan, type PlannedFile, type Variable} from './plan.js'
import {googleKey} from './variables.js'

export const kubernetesName = 'dbbak-cronjob.yaml'

/** The name of the Kubernetes secret with the variables. */
export const secretName = 'dbbak'

/** A CronJob with as few rights as a pod can have; a volume of its own where a destination is a folder. */
export function kubernetesFile(plan: InitPlan, variables: Variable[]): PlannedFile {
  const isPlaceholder = plan.image === imagePlaceholder
  const text = [
    `# dbbak: a backup ${plan.schedule.words} (UTC).`,
    ...(isPlaceholder
      ? [
          '# REPLACE the image below by yours, which has dbbak and the client tools: dbbak init --docker writes a',
          '# Dockerfile for it, and dbbak init --kubernetes --image NAME puts its name here.',
        ]
      : []),
    '# The secret, made once, from the variables that are set here:',
    ...secretCommands(variables).map((command) => `#   ${command}`),
    ...(variables.some(({isOptional}) => isOptional)
      ? [
          '# With a role instead of keys (workload identity, IRSA) set none here, and give the pod its account: below',
          '# restartPolicy, serviceAccountName: NAME.',
        ]
      : []),
    `#   kubectl apply -f ${kubernetesName}`,
    `#   kubectl create job --from=cronjob/dbbak-backup dbbak-now   # a backup now`,
    ...[...volumeDocuments(plan), cronJob(plan, variables)].flatMap((document) => [
      '---',
      stringify(document, {lineWidth: 0, aliasDuplicateObjects: false}).trimEnd(),
    ]),
    '',
  ].join('\n')
  return {path: kubernetesName, text, mode: 0o644}
}

/** Read from a pipe: what stands in a command line can be seen by everybody on the machine. What is not set is left out. */
export function secretCommands(variables: Variable[]): string[] {
  const names = variables.map(({name}) => name).filter((name) => name !== googleKey)
  const create = 'kubectl create secret generic'
  return [
    `env | grep -E '^(${names.join('|')})=.' | ${create} ${secretName} --from-env-file=/dev/stdin`,
    ...(usesGoogleKey(variables)
      ? [
          `${create} ${keySecretName} --from-file=key.json="$${googleKey}" --from-literal=path=${keyFolder}/key.json`,
        ]
      : []),
  ]
}

/** The secret with Google's key file and where it is in the pod; without it the pod uses its account's role. */
const keySecretName = 'dbbak-gcs-key'
const keyFolder = '/var/run/secrets/dbbak-gcs-key'

const usesGoogleKey = (variables: Variable[]): boolean => variables.some(({name}) => name === googleKey)

const hasFolder = ({destinations}: InitPlan): boolean =>
  destinations.some((destination) => parseDestination(destination).kind === 'local')

function volumeDocuments(plan: InitPlan): object[] {
  if (!hasFolder(plan)) return []
  return [
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: {name: 'dbbak-backups', labels},
      spec: {accessModes: ['ReadWriteOnce'], resources: {requests: {storage: '20Gi'}}},
    },
  ]
}

const labels = {'app.kubernetes.io/name': 'dbbak'}

function cronJob(plan: InitPlan, variables: Variable[]): object {
  return {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: {name: 'dbbak-backup', labels},
    spec: {
      schedule: plan.schedule.cron,
      timeZone: 'Etc/UTC',
      concurrencyPolicy: 'Forbid',
      startingDeadlineSeconds: 3600,
      successfulJobsHistoryLimit: 3,
      failedJobsHistoryLimit: 3,
      jobTemplate: {
        spec: {
          backoffLimit: 1,
          activeDeadlineSeconds: 21_600,
          template: {metadata: {labels}, spec: pod(plan, variables)},
        },
      },
    },
  }
}

function pod(plan: InitPlan, variables: Variable[]): object {
  const volumes = [
    {name: 'tmp', emptyDir: {}},
    ...(hasFolder(plan) ? [{name: 'backups', persistentVolumeClaim: {claimName: 'dbbak-backups'}}] : []),
    ...(usesGoogleKey(variables)
      ? [{name: 'gcs-key', secret: {secretName: keySecretName, optional: true, defaultMode: 0o440}}]
      : []),
  ]
  return {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 1000,
      runAsGroup: 1000,
      fsGroup: 1000,
      seccompProfile: {type: 'RuntimeDefault'},
    },
    containers: [container(plan, variables)],
    volumes,
  }
}

function container(plan: InitPlan, variables: Variable[]): object {
  return {
    name: 'dbbak',
    image: plan.image,
    command: containerCommand(plan),
    env: [
      ...variables.map(({name, isOptional}) => ({
        name,
        valueFrom: {
          secretKeyRef: {
            ...(name === googleKey ? {name: keySecretName, key: 'path'} : {name: secretName, key: name}),
            ...(isOptional ? {optional: true} : {}),
          },
        },
      })),
      {name: 'TMPDIR', value: '/tmp'},
      {name: 'HOME', value: '/tmp'},
      {name: 'RETENTION_DAYS', value: String(plan.keepDays)},
    ],
    resources: {
      requests: {cpu: '100m', memory: '256Mi', 'ephemeral-storage': '1Gi'},
      limits: {memory: '1Gi'},
    },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: {drop: ['ALL']},
    },
    volumeMounts: [
      {name: 'tmp', mountPath: '/tmp'},
      ...(hasFolder(plan) ? [{name: 'backups', mountPath: '/backups'}] : []),
      ...(usesGoogleKey(variables) ? [{name: 'gcs-key', mountPath: keyFolder, readOnly: true}] : []),
    ],
  }
}
