/** Several processes behind one port: clients must not be able to tell. */
import { readFile, readlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeImage } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { RegistryClient, type Answer } from './registry-client.ts';

const CONNECTIONS = 24;

describe('two workers', () => {
  let landscape: Landscape;
  beforeAll(async () => {
    landscape = await buildLandscape({ config: () => ({ workers: 2 }) });
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  /** The same request on many connections of their own, all at once. */
  const onManyConnections = (ask: (client: RegistryClient) => Promise<Answer>): Promise<Answer[]> =>
    Promise.all(
      Array.from({ length: CONNECTIONS }, async () => {
        await using client = new RegistryClient(landscape.umbra.url);
        return await ask(client);
      }),
    );

  test('a pushed tag is seen on every connection as soon as its push is answered, each time it moves', async () => {
    for (const round of [1, 2, 3, 4, 5]) {
      const image = await makeImage({ marker: `round ${round}` });
      await landscape.client.push('org/moving', 'latest', image);
      const answers = await onManyConnections((client) => client.getManifest('org/moving', 'latest'));
      expect(new Set(answers.map(({ status, digest }) => `${status} ${digest}`))).toEqual(new Set([`200 ${image.digest}`]));
    }
  });

  test('a pushed image covers upstream’s on every connection, and a deleted one uncovers it', async () => {
    const [upstreams, pushed] = [await makeImage({ marker: 'upstream’s' }), await makeImage({ marker: 'pushed' })];
    await landscape.publish('docker.io/org/covered', '1', upstreams);
    const seen = async (): Promise<unknown> => [
      ...new Set((await onManyConnections((client) => client.getManifest('org/covered', '1'))).map(({ digest }) => digest)),
    ];
    expect(await seen()).toEqual([upstreams.digest]);
    await landscape.client.push('org/covered', '1', pushed);
    expect(await seen()).toEqual([pushed.digest]);
    expect(await landscape.client.call('/v2/org/covered/manifests/1', { method: 'DELETE' })).toMatchObject({ status: 202 });
    expect(await seen()).toEqual([upstreams.digest]);
  });

  test('an upload goes on whichever worker its next request reaches', async () => {
    const image = await makeImage({ marker: 'in pieces', fillerBytes: 600_000 });
    const [digest, bytes] = [...image.blobs].at(-1) ?? [];
    if (digest === undefined || bytes === undefined) throw new Error('an image has blobs');
    const start = await landscape.client.call('/v2/org/pieces/blobs/uploads/', { method: 'POST' });
    let location = start.headers['location'] ?? '';
    for (let offset = 0; offset < bytes.length; offset += 100_000) {
      await using client = new RegistryClient(landscape.umbra.url);
      const body = bytes.subarray(offset, offset + 100_000);
      const headers = { 'content-type': 'application/octet-stream', 'content-range': `${offset}-${offset + body.length - 1}` };
      const answer = await client.call(location, { method: 'PATCH', headers, body });
      expect(answer).toMatchObject({ status: 202, headers: { range: `0-${offset + body.length - 1}` } });
      location = answer.headers['location'] ?? '';
    }
    const end = new URL(location, landscape.umbra.url);
    end.searchParams.set('digest', digest);
    expect(await landscape.client.call(end.href, { method: 'PUT' })).toMatchObject({ status: 201 });
    expect(await landscape.client.getBlob('org/pieces', digest)).toMatchObject({ status: 200, digest });
  });

  test('many cold readers of one layer cost one download', async () => {
    const image = await makeImage({ marker: 'cold', fillerBytes: 8_000_000 });
    await landscape.publish('docker.io/org/cold', '1', image);
    const [digest] = [...image.blobs].at(-1) ?? [];
    if (digest === undefined) throw new Error('an image has blobs');
    const answers = await onManyConnections((client) => client.getBlob('org/cold', digest));
    expect(new Set(answers.map((answer) => `${answer.status} ${answer.digest}`))).toEqual(new Set([`200 ${digest}`]));
    expect(landscape.hub.requests.filter((line) => line === `GET /v2/org/cold/blobs/${digest} 200`)).toHaveLength(1);
  });

  test('one that is killed is replaced, and nothing that was pushed is lost', async () => {
    const image = await makeImage({ marker: 'survives' });
    await landscape.client.push('org/survivor', '1', image);
    const workers = await childrenOf(landscape.umbra.pid);
    expect(workers).toHaveLength(2);
    process.kill(workers[0] ?? 0, 'SIGKILL');
    let now = workers;
    while (now.length < 2 || now.includes(workers[0] ?? 0)) {
      await delay(20);
      now = await childrenOf(landscape.umbra.pid);
    }
    const answers = await onManyConnections((client) => client.getManifest('org/survivor', '1'));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  });

  test('end with the main process when that is killed, and leave the port to a new one', async () => {
    const image = await makeImage({ marker: 'before the crash' });
    await landscape.client.push('org/crashed', '1', image);
    const { pid } = landscape.umbra;
    const workers = await childrenOf(pid);
    process.kill(pid, 'SIGKILL');
    while ((await Promise.all(workers.map(isAlive))).includes(true)) await delay(20);
    await landscape.umbra.kill();
    await landscape.umbra.restart();
    await using client = new RegistryClient(landscape.umbra.url);
    expect(await client.getManifest('org/crashed', '1')).toMatchObject({ status: 200, digest: image.digest });
  });
});

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  const pids = text.split(' ').filter(Boolean).map(Number);
  const alive = await Promise.all(pids.map(isAlive));
  return pids.filter((_, i) => alive[i]);
}

/** A process that ended and was not waited for has no program any more. */
function isAlive(pid: number): Promise<boolean> {
  return readlink(`/proc/${pid}/exe`).then(
    () => true,
    () => false,
  );
}
