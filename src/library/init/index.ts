/** `dbbak init`: tests what was chosen, and writes a config file and what runs backups by a schedule. */
export {
  checkInit,
  defaultDestination,
  defaultKeepDays,
  defaultSchedule,
  folderOf,
  initialise,
  type InitOptions,
  type InitResult,
} from './initialise.js'
export {artefacts, type Artefact, type Variable} from './plan.js'
export type {WrittenFile} from './write-files.js'
