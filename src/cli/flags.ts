import {Flags} from '@oclif/core'

/** Flags that several commands share, worded once. */
export const databaseUrlFlag = Flags.string({
  char: 'd',
  description: 'The database; instead of DATABASE_URL or the PG* variables.',
  helpValue: 'URL',
})

export const fromFlag = Flags.string({
  description: 'The destination to look in; by default where backups go.',
  helpValue: 'DEST',
})

/** For commands that work on one database. */
export const oneDatabaseFlag = Flags.string({
  description: "Whose backups: one of the config file's databases, or a database by its own name.",
  helpValue: 'NAME',
})

const helpGroup = 'SEVERAL DATABASES'

/** Flags of commands that work on several databases, but for what is named: only their names' meaning differs. */
const severalFlags = (names: string, atATime: number, instead: string[] = []) => ({
  database: Flags.string({
    description: `${names}; may be repeated.`,
    multiple: true,
    multipleNonGreedy: true,
    exclusive: instead,
    helpValue: 'NAME',
    helpGroup,
  }),
  'all-databases': Flags.boolean({
    description: "All of the config file's databases; goes on after a failure.",
    exclusive: ['database', ...instead],
    helpGroup,
  }),
  shard: Flags.string({
    description: 'A part of them, the same on every machine: 2/5 is the second of five.',
    helpValue: 'PART/PARTS',
    helpGroup,
  }),
  concurrency: Flags.integer({
    description: `So many databases at a time (default ${atATime}).`,
    min: 1,
    max: 100,
    helpValue: 'N',
    helpGroup,
  }),
})

/** For commands that reach databases. */
export const databasesFlags = (atATime: number) =>
  severalFlags("One of the config file's databases", atATime, ['database-url'])

/** For commands that work on what was backed up. */
export const whoseFlags = (atATime: number) =>
  severalFlags("Whose backups: one of the config file's databases, or one by its own name", atATime)

export const bandwidthLimitFlag = Flags.string({
  description: 'Send and receive at most so many bytes a second (20MB, 800kB).',
  helpValue: 'RATE',
})

export const scratchFlag = Flags.string({
  description:
    'Where restore tests run: auto, url (TEST_DATABASE_URL), local, embedded (a server from npm), or none.',
  options: ['auto', 'url', 'local', 'docker', 'embedded', 'none'],
  helpValue: 'KIND',
})

export const levelFlag = Flags.string({
  description:
    'How far to go: checksum, archive, restore, or auto (restore where a scratch server can be had).',
  options: ['auto', 'checksum', 'archive', 'restore'],
  helpValue: 'LEVEL',
})

export const patterns = (char: 'n' | 'N' | 't' | 'T' | undefined, description: string) =>
  Flags.string({
    ...(char ? {char} : {}),
    description,
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'PATTERN',
    helpGroup: 'SELECTION',
  })
