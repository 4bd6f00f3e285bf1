import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {existsSync} from 'node:fs'
import {mkdtemp, rm} from 'node:fs/promises'
import {homedir, tmpdir} from 'node:os'
import {join} from 'node:path'
import {Readable} from 'node:stream'
import {pathToFileURL} from 'node:url'
import {openProvider, parseDestination} from '../../src/storage/open-provider.js'
import {keys} from './contract-support.js'

const request = {retryForMs: 1000, stallMs: 1000, env: {}}
const options = (cwd: string) => ({cwd, request, s3: {}, gcs: {}, azure: {}})

describe('a destination is written as', () => {
  test.each([
    ['./backups', {kind: 'local', path: './backups'}],
    ['/var/backups/with space', {kind: 'local', path: '/var/backups/with space'}],
    ['backups:old', {kind: 'local', path: 'backups:old'}],
    ['C:\\backups', {kind: 'local', path: 'C:\\backups'}],
    ['c:/backups', {kind: 'local', path: 'c:/backups'}],
    ['~', {kind: 'local', path: homedir()}],
    ['~/backups', {kind: 'local', path: join(homedir(), 'backups')}],
    ['./~', {kind: 'local', path: './~'}],
    ['file:///var/backups', {kind: 'local', path: '/var/backups'}],
    ['FILE:///var/with%20space/%23', {kind: 'local', path: '/var/with space/#'}],
    ['file://localhost/var/backups', {kind: 'local', path: '/var/backups'}],
    ['s3://bucket', {kind: 's3', bucket: 'bucket', prefix: ''}],
    ['s3://bucket/a/b/', {kind: 's3', bucket: 'bucket', prefix: 'a/b'}],
    ['gs://bucket/prefix', {kind: 'gs', bucket: 'bucket', prefix: 'prefix'}],
    ['azblob://container/prefix', {kind: 'azblob', bucket: 'container', prefix: 'prefix'}],
  ])('%s', (text, destination) => {
    expect(parseDestination(text)).toEqual(destination)
  })

  test.each([
    '',
    '  ',
    'ftp://host/x',
    'https://host/x',
    's3:bucket',
    's3://',
    's3:///prefix',
    'gs://bucket?x=1',
    'azblob://container#x',
    'file://other-host/x',
    'file:relative',
    'file:///x?y',
    'file:///x#y',
    'file:///a%2Fb',
    '~somebody/x',
    's3://bucket/../x',
    'azblob://container/a//b',
    'gs://bucket/.dbbak-work/x',
    'nul\0byte',
  ])('but not as %j', (text) => {
    expect(() => parseDestination(text)).toThrow(
      expect.objectContaining({
        code: 'DESTINATION_INVALID',
        exitCode: 2,
        suggestions: [expect.stringContaining('s3://bucket/prefix')],
      }),
    )
  })

  test.each(['ftp://user:hunter2@host/x', 's3://key:hunter2@bucket', 's3:hunter2'])(
    'a password in a wrong one is not repeated',
    (text) => {
      expect(() => parseDestination(text)).toThrow(
        expect.objectContaining({message: expect.not.stringContaining('hunter2')}),
      )
    },
  )
})

describe('opening a destination', () => {
  let cwd: string
  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'dbbak-open-'))
  })
  afterEach(() => rm(cwd, {recursive: true, force: true}))

  test('a relative path is relative to the given folder, and opening or listing it creates nothing', async () => {
    const store = await openProvider('./backups', options(cwd))
    expect(store.describe()).toBe(join(cwd, 'backups'))
    expect(await keys(store)).toEqual([])
    expect(existsSync(join(cwd, 'backups'))).toBe(false)
    await store.put('shop.dump', Readable.from(['x']))
    expect(existsSync(join(cwd, 'backups', 'shop.dump'))).toBe(true)
  })

  test('a file URL and a path lead to the same place', async () => {
    const path = join(cwd, 'a b#c')
    const store = await openProvider(pathToFileURL(path).href, options('/'))
    expect(store.describe()).toBe(path)
  })

  test.each([
    [
      's3://bucket/x',
      {s3: {endpoint: 'http://127.0.0.1:1', credentials: {accessKeyId: 'a', secretAccessKey: 'b'}}},
    ],
    ['gs://bucket', {gcs: {emulator: 'http://127.0.0.1:1'}}],
    [
      'azblob://container/a/b',
      {azure: {account: 'x', sas: 'sv=1&sig=secret', endpoint: 'http://127.0.0.1:1/x'}},
    ],
  ])('%s is a bucket, which nothing is asked of until it is used', async (text, more) => {
    const store = await openProvider(text, {...options(cwd), ...more})
    expect(store.describe()).toBe(text)
    await store.close()
  })
})
