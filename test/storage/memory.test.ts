import {MemoryStorage} from '../support/memory-storage.js'
import {describeStorageContract} from './contract.js'

describeStorageContract('memory', async () => ({store: new MemoryStorage()}))
