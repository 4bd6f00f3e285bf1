import {writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import type {DataEntry, TableOfContents} from './archive-toc.js'
import {runRestoreToolOnFile, type RestoreToolRequest, type RestoreToolResult} from './run-restore-tool.js'

/** Built as soon as the rows of their own table are there; what else comes after the data may need other tables. */
const kinds = new Set(['INDEX', 'CONSTRAINT'])

/**
 * Builds indexes, primary keys and unique constraints of tables that are filled while others are still being filled:
 * a restore from a stream keeps only about one processor busy. Where a table's last rows are still on their way, the
 * server's own locks make the index wait for them.
 */
export class EarlyIndexes {
  private readonly waiting: number[] = []
  private readonly begun = new Set<number>()
  private readonly results: RestoreToolResult[] = []
  private running: Promise<void> | undefined
  private failure: Error | undefined

  constructor(
    private readonly folder: string,
    /** Holds the table of contents. */
    private readonly file: string,
    private readonly request: RestoreToolRequest,
    private readonly jobs: number,
    private readonly isWorthIt: (table: DataEntry) => boolean,
  ) {}

  /** The rows of a table have all been handed over. */
  filled(table: DataEntry, contents: TableOfContents): void {
    if (!this.isWorthIt(table)) return
    for (const id of indexesOf(table, contents)) {
      this.begun.add(id)
      this.waiting.push(id)
    }
    this.running ??= this.work()
  }

  /** Waits for what was begun. @returns what the tool said, and which entries were made */
  async end(): Promise<{results: RestoreToolResult[]; made: ReadonlySet<number>}> {
    while (this.running) await this.running
    if (this.failure) throw this.failure
    return {results: this.results, made: this.begun}
  }

  /** All that waits in one go, again and again. */
  private async work(): Promise<void> {
    try {
      while (this.waiting.length > 0) this.results.push(await this.build(this.waiting.splice(0)))
    } catch (error) {
      this.failure ??= error as Error
    } finally {
      this.running = undefined
    }
  }

  private async build(ids: number[]): Promise<RestoreToolResult> {
    const list = join(this.folder, `${this.begun.size}.list`)
    await writeList(list, ids)
    const options = [...this.request.options, `--use-list=${list}`, `--jobs=${this.jobs}`]
    return runRestoreToolOnFile({...this.request, options}, this.file)
  }
}

/** Those that need nothing but their own table and what was there before all data. */
function indexesOf({needs: [definition]}: DataEntry, {entries, data}: TableOfContents): number[] {
  if (definition === undefined) return []
  const late = new Set(entries.filter(({isAfterData}) => isAfterData).map(({id}) => id))
  const otherTables = new Set([...data.values()].map(({needs}) => needs[0]))
  otherTables.delete(definition)
  return entries
    .filter(({id, kind, needs}) => late.has(id) && kinds.has(kind ?? '') && needs.includes(definition))
    .filter(({needs}) => needs.every((need) => !late.has(need) && !otherTables.has(need)))
    .map(({id}) => id)
}

/** As pg_restore --list prints it; it reads the number alone. */
export function writeList(path: string, ids: number[]): Promise<void> {
  return writeFile(path, ids.map((id) => `${id};\n`).join(''), {mode: 0o600})
}
