import {ObjectStorage} from '../../src/storage/objects/object-storage.js'
import {MemoryClient, type MemoryClientOptions} from '../support/memory-client.js'
import {randomFaults} from '../support/random-faults.js'
import {describeStorageContract} from './contract.js'

function open(options: MemoryClientOptions = {}) {
  return async () => ({
    store: new ObjectStorage(new MemoryClient(options), {
      prefix: 'some/place',
      retryForMs: 60_000,
      sleep: async () => {},
    }),
  })
}

const traits = {multipart: true}

describeStorageContract('an object store', open(), traits)
describeStorageContract(
  'one that lists in no order, a few at a time',
  open({unordered: true, pageSize: 7}),
  traits,
)
describeStorageContract('one that takes parts in order only', open({sequential: true}), traits)
describeStorageContract(
  'one that completes without looking at the condition',
  open({ignoresConditions: true}),
  traits,
)
describeStorageContract(
  'one of whose requests a third fail, before or after they were carried out',
  () => open({fault: randomFaults(1, 0.33)})(),
  traits,
)
