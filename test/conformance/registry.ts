/**
 * The registry under test and what every section does with it: push things, read answers. `UMBRA_ORIGIN` names a
 * running registry to test instead of an Umbra started for the file (that is how the suite itself was checked
 * against docker-registry).
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect } from 'vitest';
import { startUmbra } from '../support/umbra.ts';
import { openClient, type Answer, type Client, type SendOptions } from './client.ts';
import { blob, image, TYPES, type Content, type Fields } from './content.ts';

export interface Registry {
  readonly origin: string;
  send(method: string, target: string, options?: SendOptions): Promise<Answer>;
  /** A name that nothing was pushed to. */
  freshName(): string;
}

/**
 * Starts a registry for the tests of the file and stops it after them.
 * @param settings as a configuration file would have them
 */
export function useRegistry(settings?: Readonly<Record<string, unknown>>): Registry {
  let client: Client | undefined;
  let stop = async (): Promise<void> => {};
  const run = randomBytes(4).toString('hex');
  let names = 0;
  const started = (): Client => {
    if (client === undefined) throw new Error('the registry is used before the tests run');
    return client;
  };
  beforeAll(async () => {
    const given = process.env['UMBRA_ORIGIN'];
    if (given !== undefined) {
      client = openClient(given);
    } else {
      const umbra = await startUmbra(settings);
      stop = () => umbra.close();
      client = openClient(umbra.origin);
    }
  });
  afterAll(async () => {
    await client?.close();
    await stop();
  });
  return {
    get origin() {
      return started().origin;
    },
    send: (method, target, options) => started().send(method, target, options),
    freshName: () => `conformance/${run}/n${names++}`,
  };
}

/** POST, then PUT with everything. */
export async function pushBlob(registry: Registry, name: string, what: Content): Promise<void> {
  const begun = await registry.send('POST', `/v2/${name}/blobs/uploads/`);
  expect(begun.status).toBe(202);
  const put = await registry.send('PUT', withQuery(location(begun), { digest: what.digest }), {
    headers: { 'content-type': 'application/octet-stream' },
    body: what.bytes,
  });
  expect(put.status).toBe(201);
}

export function putManifest(registry: Registry, name: string, what: Content, reference: string = what.digest): Promise<Answer> {
  return registry.send('PUT', `/v2/${name}/manifests/${reference}`, { headers: { 'content-type': what.mediaType }, body: what.bytes });
}

/** Pushes and expects 201. */
export async function pushManifest(registry: Registry, name: string, what: Content, reference?: string): Promise<Answer> {
  const answer = await putManifest(registry, name, what, reference);
  expect(answer.status, answer.body.toString()).toBe(201);
  return answer;
}

export interface PushedImage {
  readonly config: Content;
  readonly layer: Content;
  readonly manifest: Content;
}

/** A fresh image of one layer under these tags, or under its digest only. */
export async function pushImage(registry: Registry, name: string, tags: readonly string[] = [], more: Fields = {}): Promise<PushedImage> {
  const config = blob(64, TYPES.config);
  const layer = blob();
  await pushBlob(registry, name, config);
  await pushBlob(registry, name, layer);
  const manifest = image(config, [layer], more);
  for (const reference of tags.length > 0 ? tags : [manifest.digest]) await pushManifest(registry, name, manifest, reference);
  return { config, layer, manifest };
}

/** A fresh name that holds the blobs of an image, but no manifest. */
export async function stageImage(registry: Registry): Promise<{ name: string; config: Content; layer: Content }> {
  const name = registry.freshName();
  const [config, layer] = [blob(30, TYPES.config), blob()];
  await pushBlob(registry, name, config);
  await pushBlob(registry, name, layer);
  return { name, config, layer };
}

export async function expectBlob(registry: Registry, name: string, what: Content): Promise<void> {
  const got = await registry.send('GET', `/v2/${name}/blobs/${what.digest}`);
  expect(got.status).toBe(200);
  expect(got.body.equals(what.bytes)).toBe(true);
}

export async function expectManifest(registry: Registry, name: string, reference: string, what: Content): Promise<void> {
  const got = await registry.send('GET', `/v2/${name}/manifests/${reference}`);
  expect(got.status, `${reference}: ${got.body.toString().slice(0, 200)}`).toBe(200);
  expect(got.body.equals(what.bytes)).toBe(true);
  expect(got.header('content-type')).toBe(what.mediaType);
  expect(got.header('docker-content-digest')).toBe(what.digest);
}

export function location(answer: Answer): string {
  const value = answer.header('location');
  if (value === undefined) throw new Error(`an answer of ${answer.status} without a Location`);
  return value;
}

/** Adds parameters to a URL whose own ones may matter to the registry (spec, "POST then PUT"). */
export function withQuery(target: string, parameters: Readonly<Record<string, string>>): string {
  return `${target}${target.includes('?') ? '&' : '?'}${new URLSearchParams(parameters).toString()}`;
}

/**
 * An answer with one of the statuses whose body has the spec's form ("Error Codes") and, where codes are given, one of
 * them first.
 */
export function expectError(answer: Answer, status: number | readonly number[], ...codes: string[]): void {
  expect([status].flat(), `${answer.status} ${answer.body.toString().slice(0, 300)}`).toContain(answer.status);
  expect(answer.header('content-type')).toMatch(/^application\/json\b/);
  const { errors } = answer.json() as { errors: { code: string; message?: unknown }[] };
  expect(errors.length).toBeGreaterThan(0);
  for (const { code, message } of errors) {
    expect(code).toMatch(/^[A-Z_]+$/);
    expect(message).toEqual(expect.stringMatching(/./));
  }
  if (codes.length > 0) expect(codes).toContain(errors[0]?.code);
}
