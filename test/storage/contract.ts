import {afterEach, beforeEach, describe} from '@jest/globals'
import type {StorageProvider} from '../../src/storage/provider.js'
import {describeLocalFiles} from './contract-local-files.js'
import {describeLeftovers, describeNames, describeRemove} from './contract-names.js'
import {describeLargeObjects} from './contract-large.js'
import {describeGet, describeList} from './contract-reading.js'
import {describeFailingPut, describePut, describeWriteOnce} from './contract-writing.js'

export interface OpenedStore {
  /** An empty destination. */
  store: StorageProvider
  cleanup?: () => Promise<void>
}

export interface ContractOptions {
  /** The provider has `workFolder`, `adopt` and `freeBytes`. */
  localFiles?: boolean
  /** Large objects are sent in parts. */
  multipart?: boolean
  /** So many objects are listed: more than the store gives in one answer, or in five. */
  listed?: number
}

/** Every promise of src/storage/provider.ts, one test each; `open` gives each test a destination of its own. */
export function describeStorageContract(
  name: string,
  open: () => Promise<OpenedStore>,
  options: ContractOptions = {},
): void {
  describe(`${name} keeps the promises of a storage provider`, () => {
    let opened: OpenedStore
    let store: StorageProvider

    beforeEach(async () => {
      opened = await open()
      ;({store} = opened)
    })
    afterEach(async () => {
      await store.close()
      await opened.cleanup?.()
    })

    const current = () => store
    describePut(current)
    describeFailingPut(current)
    describeWriteOnce(current)
    describeGet(current)
    describeList(current, options.listed)
    describeNames(current)
    describeRemove(current)
    describeLeftovers(current)
    if (options.multipart) describeLargeObjects(current)
    if (options.localFiles) describeLocalFiles(current)
  })
}
