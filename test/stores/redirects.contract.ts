/**
 * Real clients that Umbra sends to a real store for the bytes of a blob, and those that it does not; what of it is in
 * the log. Everybody logs in: what proves them to Umbra must not come to the store, which refuses two kinds of proof.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { digestOf, hexOf, type Digest } from '../../src/oci/digest.ts';
import { makeImage, type Image } from '../e2e/images.ts';
import { tellOnFailure } from '../e2e/landscape.ts';
import { insecure } from '../e2e/registries-conf.ts';
import { RegistryClient } from '../e2e/registry-client.ts';
import { Umbra } from '../e2e/umbra.ts';
import { run } from '../services/command.ts';
import { Containers } from '../services/containers.ts';

export interface RedirectingStore {
  /** `storage:` of umbra.yaml, but for `redirect`. */
  readonly storage: Readonly<Record<string, unknown>>;
  /** Where the store answers clients: another host than `localhost`, at which they find Umbra. */
  readonly origin: string;
  /** The query parameter that holds the signature. */
  readonly signature: string;
}

const USER = { username: 'ci', password: 'pw-of-ci' };
const LOGIN = `${USER.username}:${USER.password}`;
const NAME = 'org/redirected';

/** Within a `describe`. */
export function redirecting(openStore: () => Promise<RedirectingStore>): void {
  let store: RedirectingStore;
  let dir: string;
  let umbra: Umbra;
  let image: Image;
  let layer: Digest;
  const signatures: string[] = [];

  beforeAll(async () => {
    store = await openStore();
    dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
    await mkdir(dir, { mode: 0o700 });
    umbra = await Umbra.start({
      dir: join(dir, 'umbra'),
      config: {
        storage: { ...store.storage, redirect: ['127.0.0.1', '::1'] },
        auth: { anonymous: 'none', users: [{ name: USER.username, password: USER.password, access: 'push' }] },
      },
      wrapper: ['env', 'UMBRA_LOG=debug', 'UMBRA_LOG_FORMAT=json'],
    });
    // Its last layer is larger than what is worth a redirect.
    image = await makeImage({ marker: randomBytes(8).toString('hex'), fillerBytes: 1_500_000 });
    layer = [...image.blobs.keys()].at(-1)!;
    await using client = new RegistryClient(umbra.url, USER);
    await client.push(NAME, '1', image);
  });
  afterAll(async () => {
    await umbra?.[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });
  tellOnFailure(() => umbra);

  /** What curl got of the layer, and where from. */
  async function curl(host: string, ...flags: string[]): Promise<{ readonly digest: Digest; readonly status: number; readonly url: string }> {
    const file = join(dir, 'got');
    const told = await run('curl', ['-sSL4', '-u', LOGIN, '-o', file, '-w', '%{http_code} %{url_effective}', ...flags, `http://${host}/v2/${NAME}/blobs/${layer}`]);
    const [status, url = ''] = told.split(' ');
    return { digest: digestOf(await readFile(file)), status: Number(status), url };
  }

  test('curl follows to the store, for the whole and for a range', async () => {
    const whole = await curl(umbra.host);
    expect([whole.digest, whole.status]).toEqual([layer, 200]);
    const range = await curl(umbra.host, '-r', '7-');
    expect(range.status).toBe(206);
    for (const { url } of [whole, range]) {
      expect(url).toMatch(new RegExp(`^${store.origin}/`));
      signatures.push(new URL(url).searchParams.get(store.signature) ?? '');
    }
  });

  test('skopeo and podman get it from there', async () => {
    const reference = `${umbra.host}/${NAME}:1`;
    const pulled = join(dir, 'pulled');
    const skopeo = await Containers.create(join(dir, 's'), insecure(umbra.host));
    const podman = await Containers.create(join(dir, 'p'), insecure(umbra.host));
    await Promise.all([
      skopeo.skopeo(['copy', '--src-creds', LOGIN, `docker://${reference}`, `dir:${pulled}`]),
      podman.podman(['pull', '-q', '--creds', LOGIN, reference]),
    ]);
    expect(digestOf(await readFile(join(pulled, hexOf(layer))))).toBe(layer);
    expect((await podman.podman(['image', 'inspect', '--format', '{{.Digest}}', reference])).trim()).toBe(image.digest);
  });

  test.each<[string, (port: string) => string, string[]]>([
    ['is in none of the networks', (port) => `localhost:${port}`, ['--interface', '127.0.0.9']],
    ['would take its login along, since the store is on the same host', (port) => `127.0.0.1:${port}`, []],
  ])('a client that %s gets the bytes from Umbra', async (_, host, flags) => {
    const at = host(new URL(umbra.url).port);
    expect(await curl(at, ...flags)).toEqual({ digest: layer, status: 200, url: `http://${at}/v2/${NAME}/blobs/${layer}` });
  });

  test('the log tells of each of them, and of no signature', async () => {
    await umbra.stop();
    const lines = umbra.output.split('\n').filter((line) => line.includes(layer) && line.includes('"status":307'));
    for (const agent of ['curl/', 'skopeo/', 'containers/']) expect(lines).toContainEqual(expect.stringContaining(`"agent":"${agent}`));
    expect(signatures.length).toBeGreaterThan(0);
    for (const signature of signatures) expect(signature).toMatch(/^[0-9a-f]{40,}$/);
    for (const secret of [...signatures, store.signature]) expect(umbra.output).not.toContain(secret);
  });
}
