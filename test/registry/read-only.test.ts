/** A registry that says in its configuration that nothing is pushed to it: every way to write is refused with the reason, and all else is as ever. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fakeUpstream, type FakeUpstream } from '../support/fake-upstream.ts';
import { get, pushImage } from '../support/push.ts';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';

const REASON = 'push to images.example.org';
const DIGEST = `sha256:${'ab'.repeat(32)}`;
const LOGIN = { authorization: `Basic ${Buffer.from('root:pw of root').toString('base64')}` };

let folder = '';
let hub: FakeUpstream;
let umbra: TestUmbra;
let pushed = '';
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-read-only-'));
  hub = await fakeUpstream();
  const shared = { storage: { driver: 'filesystem', root: join(folder, 'images') }, upstreamStorage: { driver: 'filesystem', root: join(folder, 'upstream') }, upstreams: { 'docker.io': { url: hub.url } } };
  const before = await startUmbra(shared);
  pushed = (await pushImage(before.origin, 'library/app', '1', 'ours')).digest;
  await before.close();
  umbra = await startUmbra({ ...shared, readOnly: REASON, auth: { keyFile: join(folder, 'key'), anonymous: 'pull', users: [{ name: 'root', password: 'pw of root', access: 'admin' }] } });
});
afterAll(async () => {
  await umbra.close();
  await hub.close();
  rmSync(folder, { recursive: true });
});

describe.each<[string, Record<string, string>]>([['anybody', {}], ['an admin', LOGIN]])('%s', (_, headers) => {
  test.each<[method: string, path: string, allow: string]>([
    ['PUT', 'library/app/manifests/1', 'GET, HEAD'],
    ['DELETE', 'library/app/manifests/1', 'GET, HEAD'],
    ['PUT', 'upstream.view/library/app/manifests/1', 'GET, HEAD'],
    ['DELETE', `library/app/blobs/${DIGEST}`, 'GET, HEAD'],
    ['POST', 'library/app/blobs/uploads/', ''],
    ['POST', `library/app/blobs/uploads/?digest=${DIGEST}`, ''],
    ['POST', `library/app/blobs/uploads/?mount=${DIGEST}&from=library/other`, ''],
    ['PATCH', 'library/app/blobs/uploads/0123', ''],
    ['PUT', `library/app/blobs/uploads/0123?digest=${DIGEST}`, ''],
    ['DELETE', 'library/app/blobs/uploads/0123', ''],
    ['GET', 'library/app/blobs/uploads/0123', ''],
  ])('is told why not: %s %s', async (method, path, allow) => {
    const answer = await fetch(`${umbra.origin}/v2/${path}`, { method, headers, ...(method === 'GET' || method === 'DELETE' ? {} : { body: 'x'.repeat(100_000) }) });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, allow]);
    expect(await answer.json()).toEqual({ errors: [{ code: 'UNSUPPORTED', message: `nothing is pushed to this registry or deleted from it: ${REASON}` }] });
  });

  test('pulls what was pushed before, and what upstream has, which is kept', async () => {
    expect(await get(umbra.origin, 'library/app/manifests/1', { headers })).toMatchObject({ status: 200, digest: pushed, source: 'view=main' });
    const tag = `of-${headers['authorization'] === undefined ? 'anybody' : 'an-admin'}`;
    const theirs = hub.content.addImage('library/other', { tag });
    expect(await get(umbra.origin, `library/other/manifests/${tag}`, { headers })).toMatchObject({ digest: theirs.digest, source: 'upstream=docker.io; cache=fill' });
    expect(await get(umbra.origin, `library/other/manifests/${tag}`, { headers })).toMatchObject({ digest: theirs.digest, source: 'upstream=docker.io; cache=hit' });
  });
});

test('what no endpoint takes is not offered', async () => {
  const answer = await fetch(`${umbra.origin}/v2/library/app/manifests/1`, { method: 'PATCH' });
  expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
});
