import {shellWord} from '../../support/shell.js'
import type {CatalogEntry} from '../catalog.js'
import type {DatabaseOfManifest, Question} from './question.js'

/** The commands that findings suggest: each names its database, and its destination where it would go to another. */
export class Commands {
  constructor(private readonly question: Question) {}

  /** @param database undefined where it is not known which is meant */
  backup(database: DatabaseOfManifest | undefined, destination: string, ...more: string[]): string {
    const {known, commands} = this.question
    const goesThere = commands?.destinations.includes(destination) ?? false
    return words(
      'dbbak backup',
      known ? `--database ${shellWord(known.name)}` : this.url(database),
      !goesThere && `--to ${shellWord(destination)}`,
      ...more,
    )
  }

  verify({archive}: CatalogEntry, destination: string, ...more: string[]): string {
    return words(`dbbak verify ${shellWord(archive)}`, ...more, this.whose(), this.from(destination))
  }

  /** @param database its own name; undefined for all that are there */
  list(destination: string, database: string | undefined, ...more: string[]): string {
    const whose = database !== undefined && `--database ${shellWord(database)}`
    return words('dbbak list', this.whose() || whose, this.from(destination), ...more)
  }

  /** A command that looks in one place looks in the first of those where backups go. */
  private from(destination: string): string | false {
    return this.question.commands?.destinations[0] !== destination && `--from ${shellWord(destination)}`
  }

  private whose(): string | false {
    const {known} = this.question
    return known !== undefined && `--database ${shellWord(known.name)}`
  }

  /** Without user and password: those come from where they usually do. */
  private url(database: DatabaseOfManifest | undefined): string | false {
    const {commands} = this.question
    if (database === undefined || commands?.isDatabase?.(database)) return false
    const {name, host, port} = database
    const path = encodeURIComponent(name)
    const isSocket = /^[/@]/.test(host)
    const server = host.includes(':') ? `[${host}]` : host
    const url = isSocket
      ? `postgresql:///${path}?host=${encodeURIComponent(host)}&port=${port}`
      : `postgresql://${server}:${port}/${path}`
    return `-d ${shellWord(url)}`
  }
}

const words = (...parts: (string | false)[]): string => parts.filter((part) => part !== false).join(' ')
