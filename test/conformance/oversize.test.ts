/** What is larger than its bound: refused with a 4xx that says so, and nothing of it is left. Manifests: `push-manifests.test.ts`. */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';
import { openClient, type Answer, type Body, type Client } from './client.ts';
import { blob, type Content } from './content.ts';
import { expectBlob, expectError, location, withQuery, type Registry } from './registry.ts';
import { BINARY, uploadSteps } from './upload-steps.ts';

const LIMIT = 1024 * 1024;
const LOGIN = { name: 'ci', password: 'pw:ci' };
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

let folder: string;
let umbra: TestUmbra;
let client: Client;
let names = 0;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-oversize-'));
  umbra = await startUmbra({
    storage: { driver: 'filesystem', root: join(folder, 'store') },
    limits: { blobBytes: LIMIT },
    auth: { anonymous: 'push', keyFile: join(folder, 'key'), users: [{ ...LOGIN, access: 'push' }] },
  });
  client = openClient(umbra.origin);
});
afterAll(async () => {
  await client?.close();
  await umbra?.close();
  rmSync(folder, { recursive: true, force: true });
});

const registry: Registry = {
  get origin() {
    return umbra.origin;
  },
  send: (method, target, options) => client.send(method, target, options),
  freshName: () => `oversize/n${names++}`,
};
const { begin, patch, close } = uploadSteps(registry);

async function* streamed(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

/** Bytes of all files of the store. */
function storedBytes(): number {
  return readdirSync(join(folder, 'store'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
}

describe('limits.blobBytes', () => {
  type Way = (name: string, what: Content) => Promise<readonly [answer: Answer, session?: string]>;
  const half = LIMIT / 2;
  const put = (name: string, { digest }: Content, body: Body): Promise<Answer> => registry.send('POST', `/v2/${name}/blobs/uploads/?digest=${digest}`, { headers: BINARY, body });
  const WAYS: readonly (readonly [string, Way])[] = [
    ['POST with the digest', async (name, what) => [await put(name, what, what.bytes)]],
    ['POST with the digest, streamed', async (name, what) => [await put(name, what, streamed(what.bytes))]],
    ['PATCH', async (name, what) => {
      const at = await begin(name);
      return [await patch(at, what.bytes), at];
    }],
    ['PATCH, streamed', async (name, what) => {
      const at = await begin(name);
      return [await patch(at, streamed(what.bytes)), at];
    }],
    ['the second PATCH', async (name, what) => {
      const at = location(await patch(await begin(name), what.bytes.subarray(0, half)));
      return [await patch(at, what.bytes.subarray(half), `${half}-${what.bytes.length - 1}`), at];
    }],
    ['PUT', async (name, what) => {
      const at = await begin(name);
      return [await close(at, what.digest, what.bytes), at];
    }],
    ['PUT after a PATCH, streamed', async (name, what) => {
      const at = location(await patch(await begin(name), what.bytes.subarray(0, half)));
      return [await close(at, what.digest, streamed(what.bytes.subarray(half))), at];
    }],
  ];

  test.each(WAYS)('a byte more by %s is 413 BLOB_TOO_LARGE, and leaves nothing', async (_, push) => {
    const name = registry.freshName();
    const what = blob(LIMIT + 1);
    const before = storedBytes();
    const [answer, session] = await push(name, what);
    expectError(answer, 413, 'BLOB_TOO_LARGE');
    expect((await registry.send('HEAD', `/v2/${name}/blobs/${what.digest}`)).status).toBe(404);
    // The client may give it up, or leave it to the sweep; it cannot finish it.
    if (session !== undefined) {
      expect((await close(session, what.digest)).status).toBe(400);
      expect((await registry.send('DELETE', session)).status).toBe(204);
    }
    expect(storedBytes() - before).toBeLessThan(16 * 1024);
    expect((await registry.send('GET', `/v2/${name}/tags/list`)).status).toBe(404);
  });

  test.each([
    ['at once', async (name: string, what: Content) => close(await begin(name), what.digest, what.bytes)],
    ['in parts', async (name: string, what: Content) => close(location(await patch(await begin(name), what.bytes.subarray(0, half))), what.digest, streamed(what.bytes.subarray(half)))],
  ])('a blob of just so much is taken, %s', async (_, push) => {
    const name = registry.freshName();
    const what = blob(LIMIT);
    expect((await push(name, what)).status).toBe(201);
    await expectBlob(registry, name, what);
  });

  test('an upload that was refused a chunk too large goes on with one that fits', async () => {
    const name = registry.freshName();
    const what = blob(LIMIT);
    const at = location(await patch(await begin(name), what.bytes.subarray(0, half)));
    expectError(await patch(at, blob(LIMIT).bytes, `${half}-${half + LIMIT - 1}`), 413, 'BLOB_TOO_LARGE');
    expect((await registry.send('GET', at)).header('range')).toBe(`0-${half - 1}`);
    expect((await close(at, what.digest, what.bytes.subarray(half))).status).toBe(201);
    await expectBlob(registry, name, what);
  });
});

describe('POST /auth/token', () => {
  const form = (fields: string, size: number): string => `${fields}&pad=${'x'.repeat(size - fields.length - '&pad='.length)}`;
  const password = `grant_type=password&username=${LOGIN.name}&password=${encodeURIComponent(LOGIN.password)}&scope=repository:app:pull`;
  const post = (body: Body): Promise<Answer> => registry.send('POST', '/auth/token', { headers: FORM, body });
  const MAX_FORM_BYTES = 64 * 1024;

  test('a form of 64 KiB is taken', async () => {
    expect((await post(form(password, MAX_FORM_BYTES))).status).toBe(200);
  });

  test.each<[string, () => Body]>([
    ['a byte more', () => form(password, MAX_FORM_BYTES + 1)],
    ['a byte more, streamed', () => streamed(Buffer.from(form(password, MAX_FORM_BYTES + 1)))],
    ['three MiB', () => form(password, 3 * LIMIT)],
    ['three MiB, streamed', () => streamed(Buffer.from(form(password, 3 * LIMIT)))],
    ['a password of that size', () => `grant_type=password&username=ci&password=${'x'.repeat(MAX_FORM_BYTES)}`],
    ['many fields', () => 'a=b&'.repeat(MAX_FORM_BYTES)],
  ])('%s is refused, and who it comes from is not logged in', async (_, body) => {
    const answer = await post(body());
    expectError(answer, 400, 'PARAMETER_INVALID');
    expect(answer.body.toString()).toMatch(/the form has more than 65536 bytes/);
    expect((await registry.send('GET', '/healthz')).status).toBe(200);
  });
});

describe('scopes of one token', () => {
  const MAX_SCOPES = 64;
  const scopes = (count: number): string[] => Array.from({ length: count }, (_, index) => `repository:org/app-${index}:pull,push`);
  const asked = { authorization: `Basic ${Buffer.from(`${LOGIN.name}:${LOGIN.password}`).toString('base64')}` };
  const WAYS: readonly (readonly [string, (count: number) => Promise<Answer>])[] = [
    ['in a query', (count) => registry.send('GET', `/auth/token?${scopes(count).map((scope) => `scope=${scope}`).join('&')}`, { headers: asked })],
    ['in one parameter', (count) => registry.send('GET', `/auth/token?scope=${scopes(count).join('%20')}`, { headers: asked })],
    ['in a form', (count) => registry.send('POST', '/auth/token', { headers: { ...FORM, ...asked }, body: scopes(count).map((scope) => `scope=${encodeURIComponent(scope)}`).join('&') })],
    ['in one field of a form', (count) => registry.send('POST', '/auth/token', { headers: { ...FORM, ...asked }, body: `scope=${scopes(count).join('+')}` })],
  ];

  test.each(WAYS)('64 of them %s are granted, and the token works', async (_, ask) => {
    const answer = await ask(MAX_SCOPES);
    expect(answer.status, answer.body.toString()).toBe(200);
    const { token } = answer.json() as { readonly token: string };
    const begun = await registry.send('POST', `/v2/org/app-${MAX_SCOPES - 1}/blobs/uploads/`, { headers: { authorization: `Bearer ${token}`, 'content-length': '0' } });
    expect(begun.status).toBe(202);
    expect((await registry.send('DELETE', location(begun))).status).toBe(204);
  });

  test.each(WAYS)('65 of them %s are refused', async (_, ask) => {
    const answer = await ask(MAX_SCOPES + 1);
    expectError(answer, 400, 'PARAMETER_INVALID');
    expect(answer.body.toString()).toContain('65 scopes: at most 64');
  });

  test('a thousand are refused in a form, and in a query as soon as the head is too large', async () => {
    expectError(await WAYS[3]![1](1000), 400, 'PARAMETER_INVALID');
    expect((await WAYS[0]![1](1000)).status).toBe(431);
  });

  test('the same one again and again is refused too', async () => {
    expectError(await registry.send('GET', `/auth/token?${'scope=repository:a:pull&'.repeat(65)}`), 400, 'PARAMETER_INVALID');
  });

  test.each([
    ['a name', `repository:${'a/'.repeat(2000)}a:pull`],
    ['actions', `repository:app:${'pull,'.repeat(1000)}push`],
    ['a type', `${'x'.repeat(5000)}:app:pull`],
  ])('%s in a scope that is very long is refused, ignored or granted, and not repeated whole in an error', async (_, scope) => {
    const answer = await registry.send('GET', withQuery('/auth/token', { scope }));
    expect([200, 400]).toContain(answer.status);
    if (answer.status === 400) expect(answer.body.length).toBeLessThan(1000);
  });
});
