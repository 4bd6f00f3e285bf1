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
  /** Each of one table: building a primary key keeps others off its table. */
  private readonly waiting: number[][] = []
  private readonly made = new Set<number>()
  private readonly results: RestoreToolResult[] = []
  private readonly lanes = new Set<Promise<void>>()
  private readonly abandoned = new AbortController()
  private failure: Error | undefined
  private files = 0

  constructor(
    private readonly folder: string,
    /** Holds the table of contents. */
    private readonly file: string,
    private readonly request: RestoreToolRequest,
    /** So many at a time; one less while rows are still coming, which are work enough for one. */
    private readonly jobs: number,
    private readonly isWorthIt: (table: DataEntry) => boolean,
  ) {}

  /** The rows of a table have all been handed over. */
  filled(table: DataEntry, contents: TableOfContents): void {
    if (!this.isWorthIt(table)) return
    const ids = indexesOf(table, contents)
    if (ids.length === 0) return
    for (const id of ids) this.made.add(id)
    this.waiting.push(ids)
    this.open(Math.max(1, this.jobs - 1))
  }

  /** All rows are there: builds what is left of this. @returns what the tool said, and which entries were made */
  async end(): Promise<{results: RestoreToolResult[]; made: ReadonlySet<number>}> {
    this.open(this.jobs)
    while (this.lanes.size > 0) await Promise.all(this.lanes)
    if (this.failure) throw this.failure
    return {results: this.results, made: this.made}
  }

  /** The archive cannot be read on: ends what is being built, and waits until it has ended. */
  async abandon(reason: unknown): Promise<void> {
    this.waiting.length = 0
    this.abandoned.abort(reason)
    while (this.lanes.size > 0) await Promise.all(this.lanes)
  }

  private open(most: number): void {
    while (this.lanes.size < Math.min(most, this.lanes.size + this.waiting.length)) {
      const lane: Promise<void> = this.work().finally(() => this.lanes.delete(lane))
      this.lanes.add(lane)
    }
  }

  /** One table after the other, as long as there are any. */
  private async work(): Promise<void> {
    try {
      for (let ids = this.waiting.shift(); ids && !this.failure; ids = this.waiting.shift())
        this.results.push(await this.build(ids))
    } catch (error) {
      this.failure ??= error as Error
    }
  }

  private async build(ids: number[]): Promise<RestoreToolResult> {
    const list = join(this.folder, `${this.files++}.list`)
    await writeList(list, ids)
    const signal = AbortSignal.any([this.request.signal, this.abandoned.signal])
    const options = [...this.request.options, `--use-list=${list}`]
    return runRestoreToolOnFile({...this.request, options, signal}, this.file)
  }
}

/** Those that need nothing but their own table and what was there before all data. */
function indexesOf({needs: [definition]}: DataEntry, {entries, data}: TableOfContents): number[] {
  if (definition === undefined) return []
  const late = new Set(entries.filter(({isAfterData}) => isAfterData).map(({id}) => id))
  const otherTables = new Set([...data.values()].map(({needs}) => needs[0]))
  otherTables.delete(definition)
  return entries
    .filter(({id, kind, needs}) => late.has(id) && kinds.has(kind) && needs.includes(definition))
    .filter(({needs}) => needs.every((need) => !late.has(need) && !otherTables.has(need)))
    .map(({id}) => id)
}

/** As pg_restore --list prints it; it reads the number alone. */
export function writeList(path: string, ids: number[]): Promise<void> {
  return writeFile(path, ids.map((id) => `${id};\n`).join(''), {mode: 0o600})
}
