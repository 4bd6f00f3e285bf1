import {link} from 'node:fs/promises'
import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {LocalStorage, type LocalStorageOptions} from '../../src/storage/local.js'
import {describeStorageContract} from './contract.js'

async function openLocal(options: LocalStorageOptions = {}) {
  const parent = await mkdtemp(join(tmpdir(), 'dbbak-local-'))
  const store = new LocalStorage(join(parent, 'not', 'made yet'), options)
  return {store, cleanup: () => rm(parent, {recursive: true, force: true})}
}

/** What the kernel answers to link() on FAT. */
const noHardLinks: typeof link = async (from) => {
  throw Object.assign(new Error(`EPERM: operation not permitted, link '${String(from)}'`), {
    code: 'EPERM',
    syscall: 'link',
  })
}

describeStorageContract('a local folder', () => openLocal(), {localFiles: true})
describeStorageContract('a local folder without hard links', () => openLocal({link: noHardLinks}), {
  localFiles: true,
})
