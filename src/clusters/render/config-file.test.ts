/** A node's umbra.yaml means to Umbra what the model says, whatever its values hold. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../config/load.ts';
import type { Config } from '../../config/config.ts';
import { WRITES } from '../words.ts';
import { configFile, configOf } from './config-file.ts';
import { literalModel, nodeModel } from './node-model.fixture.ts';
import type { NodeModel } from './node-model.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-node-'));
  writeFileSync(join(folder, 'push-password'), 'pw\n');
});
afterAll(() => rmSync(folder, { recursive: true }));

async function loaded(model: NodeModel): Promise<Config> {
  const path = join(folder, 'umbra.yaml');
  writeFileSync(path, configFile(model));
  // A variable that a value spells must not be taken for one.
  return (await loadConfig(path, { cwd: folder, env: { HOME: 'wrong' }, processors: 2 })).config;
}

/** Without certificates, which would be read. */
const plain = (changes: Partial<NodeModel> = {}): NodeModel => nodeModel({ login: { kind: 'bootstrap', url: 'https://clusters.example.org', ca: undefined, token: 't' }, storage: { container: 'images', account: undefined, region: undefined, interface: 'public', ca: undefined }, ...changes });

describe('a node’s configuration', () => {
  test.each(WRITES)('of write: %s is one that Umbra takes', async (write) => {
    const { listeners, auth, storage, upstreamStorage, upstreams, workers, node, readOnly } = await loaded(plain({ write, policy: 'approved', role: 'master' }));
    expect(node).toEqual({ clusters: 'https://clusters.example.org', ca: undefined, tokenFile: join(folder, 'bootstrap-token'), state: '/var/lib/umbra', role: 'master', name: undefined });
    expect(listeners[0]?.binds).toEqual([{ host: '127.0.0.1', port: 5000 }, { host: '::1', port: 5000 }]);
    expect(auth).toMatchObject({ configured: true, anonymous: 'pull', users: [] });
    expect(storage).toMatchObject({ driver: 'swift', container: 'images', disk: { root: '/var/cache/umbra/blobs', maxBytes: 10 * 1024 ** 3 }, auth: { kind: 'file', path: '/var/lib/umbra/credential.json' } });
    expect(upstreamStorage).toMatchObject(write === 'none' ? { driver: 'filesystem', root: '/var/cache/umbra/upstream', maxBytes: 10 * 1024 ** 3 } : { driver: 'swift', container: 'images-upstream' });
    expect(upstreams.map(({ host, policy }) => [host, policy])).toEqual([['docker.io', 'approved'], ['quay.io', 'approved'], ['registry.k8s.io', 'approved']]);
    expect(workers).toBe(1);
    // Whoever pushes is told why it cannot be.
    expect(readOnly).toEqual(write === 'all' ? undefined : expect.stringMatching(new RegExp(`^nodes of the cluster "the cluster's name" .*registry_write: ${write}\\); push to .*container images, or .*registry_write: all$`)));
  });

  test('bounds what is pulled to a node that writes nothing', async () => {
    expect(await loaded(plain({ write: 'none', policy: 'proxy' }))).toMatchObject({ storage: { disk: { maxBytes: 5 * 1024 ** 3 } }, upstreamStorage: { maxBytes: 5 * 1024 ** 3 } });
  });

  test.each(['cache', 'all'] as const)('of write: %s halves the disk between images and what is pulled', async (write) => {
    const { storage, upstreamStorage } = await loaded(plain({ write, policy: 'proxy', diskBytes: 3 * 1024 ** 3 + 1 }));
    expect(storage).toMatchObject({ disk: { root: '/var/cache/umbra/blobs', maxBytes: 1.5 * 1024 ** 3 + 1 } });
    expect(upstreamStorage).toMatchObject({ driver: 'swift', disk: { root: '/var/cache/umbra/upstream-blobs', maxBytes: 1.5 * 1024 ** 3 } });
    expect(await loaded(plain({ write, policy: 'local' }))).toMatchObject({ storage: { disk: { maxBytes: 10 * 1024 ** 3 } }, upstreamStorage: { disk: undefined } });
  });

  test('has a user who may push, where all may be written and the credential is in clear', async () => {
    const model = literalModel({ write: 'all', storage: plain().storage });
    expect((await loaded(model)).auth.users).toMatchObject([{ name: 'pusher', access: 'push' }]);
    expect(configFile(model)).not.toContain('PUSH-password');
    expect((await loaded({ ...model, write: 'cache' })).auth.users).toEqual([]);
  });

  test('names its files so that they are found beside it', () => {
    expect(configOf(nodeModel())).toMatchObject({
      storage: { auth: { credentialFile: '/var/lib/umbra/credential.json' }, ca: 'storage-ca.pem' },
      node: { clusters: 'https://clusters.example.org', role: 'worker', ca: 'clusters-ca.pem', tokenFile: 'bootstrap-token', state: '/var/lib/umbra' },
    });
    expect(configOf(literalModel())).toMatchObject({ storage: { auth: { credentialFile: 'credential.json' } } });
  });

  test('keeps any region and container as they are', async () => {
    const word = fc.oneof(fc.constantFrom('yes', 'null', '0x1', '0123', '12:30', '${HOME}', '$${HOME}', '$HOME', "it's", '"', '\\', '{{ x }}', '{ get_param: x }', '=', '<<', '- x', '# x', ': '), fc.string({ unit: 'grapheme', minLength: 1 }))
      // Characters for private use stand for braces while a configuration is read.
      .map((text) => text.replaceAll(/[\p{Cc}/\uE000\uE001]/gu, 'x'));
    await fc.assert(
      fc.asyncProperty(word, word, async (region, container) => {
        const { storage } = await loaded(plain({ storage: { ...plain().storage, region, container } }));
        expect(storage).toMatchObject({ region, container });
      }),
      { numRuns: 150 },
    );
  });

  test('is read alike by parsers of YAML 1.1', () => {
    const text = configFile(nodeModel({ storage: { ...plain().storage, region: 'no', container: '1_000' } }));
    expect(parse(text, { version: '1.1' })).toEqual(parse(text, { version: '1.2' }));
  });
});
