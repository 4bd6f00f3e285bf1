import type {Schedule} from './cron.js'

/** What can be asked for beside the config file. */
export const artefacts = ['github', 'cron', 'systemd', 'kubernetes', 'docker', 'railway'] as const
export type Artefact = (typeof artefacts)[number]

/** What was chosen, by answers or by flags: all that the texts are made from. No secret is in it. */
export interface InitPlan {
  /** Where the files go; absolute. */
  folder: string
  /** The top of the git repository that it is in; undefined where it is in none. */
  repository: string | undefined
  /** Whether restore tests use a server of their own (false), or the one that TEST_DATABASE_URL names. */
  usesTestServer: boolean
  destinations: string[]
  format: 'custom' | 'plain' | 'directory'
  keepDays: number
  schedule: Schedule
  /** The server's major version, where it was reached. */
  serverMajor: number | undefined
  /** For Kubernetes: the image that has dbbak and the client tools. */
  image: string
  /** This dbbak's version. */
  version: string
  /** Whom a schedule on this machine runs as. */
  user: string
  /** Whether init runs as root: a service should not. */
  isRoot: boolean
  /** Where this machine's Node.js is; schedulers start programs with hardly any PATH. */
  nodeFolder: string
  /** Where dbbak itself is, or is once it is installed; absolute. */
  program: string
  isInstalled: boolean
}

/** A file that init writes. */
export interface PlannedFile {
  /** Relative to the plan's folder, or absolute. */
  path: string
  text: string
  mode: number
  /** One that the user fills in: what is there is never replaced, not even by --force. */
  isTheUsers?: boolean
}

/** The server's major that files name where the server was not reached. */
export const usualMajor = 18

export const imagePlaceholder = 'REGISTRY.EXAMPLE/REPLACE-ME/dbbak:latest'

/** A variable that a run needs, and where it is read. */
export interface Variable {
  name: string
  /** What it holds. */
  purpose: string
  isSecret: boolean
  /** It can be done without: a role of the machine or pod can stand in for a key. */
  isOptional: boolean
  /** Whether it is set here and now. */
  isSet: boolean
}
