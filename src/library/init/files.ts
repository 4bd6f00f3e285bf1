import {join} from 'node:path'
import {cronFile} from './cron-file.js'
import {dockerFile, railwayFiles} from './docker-files.js'
import {environmentFile} from './environment-text.js'
import {workflowPath, workflowText} from './github/workflow.js'
import {kubernetesFile} from './kubernetes-file.js'
import type {Artefact, InitPlan, PlannedFile, Variable} from './plan.js'
import {systemdFiles} from './systemd-files.js'

/** The files of what was asked for; each once, also where two need it. */
export function filesOf(plan: InitPlan, artefacts: Artefact[], variables: Variable[]): PlannedFile[] {
  const makers: Record<Artefact, () => PlannedFile[]> = {
    github: () => [{path: atTop(plan, workflowPath), text: workflowText(plan), mode: 0o644}],
    cron: () => [cronFile(plan), environmentFile(variables)],
    systemd: () => [...systemdFiles(plan), environmentFile(variables)],
    kubernetes: () => [kubernetesFile(plan, variables)],
    docker: () => [dockerFile(plan, variables)],
    railway: () => railwayFiles(plan, variables),
  }
  const files = artefacts.flatMap((artefact) => makers[artefact]())
  return [...new Map(files.map((file) => [file.path, file])).values()]
}

/** GitHub looks for workflows at the top of the repository only. */
const atTop = ({folder, repository}: InitPlan, path: string): string => join(repository ?? folder, path)
