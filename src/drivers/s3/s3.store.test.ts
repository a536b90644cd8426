/** The S3 driver over Swift's s3api and over Ceph's radosgw: the contract, what is found out at start, and faults on the way. */
import { CreateMultipartUploadCommand, ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { FaultProxy } from '../../../test/services/fault-proxy.ts';
import type { RuleOptions } from '../../../test/services/fault-rules.ts';
import { limitUser, type RadosgwSettings } from '../../../test/services/radosgw.ts';
import { sharedRadosgw } from '../../../test/services/shared-radosgw.ts';
import { redirecting } from '../../../test/stores/redirects.contract.ts';
import { get, pushImage } from '../../../test/support/push.ts';
import { startUmbra } from '../../../test/support/umbra.ts';
import { Secret, type S3Storage } from '../../config/config.ts';
import { digestOf } from '../../oci/digest.ts';
import { systemTimers } from '../../workers/timers.ts';
import { SOAK } from '../../../test/support/soak.ts';
import { driverContract } from '../contract/driver.contract.ts';
import type { AssemblyState, Driver } from '../driver.ts';
import { s3Storage, type S3Service } from './s3.fixture.ts';
import { openS3, type S3Deps } from './s3.ts';
import { all, expectFailure, patterned, text, wholeOf } from '../contract/store.contract.ts';

const MIB = 1024 * 1024;

async function endpointOf(store: string): Promise<S3Service> {
  if (store === 's3api') {
    const { swiftOrigin, region, s3 } = inject('openstack');
    return { endpoint: swiftOrigin, region, ...s3 };
  }
  return await sharedRadosgw(inject('radosgw'));
}

const fresh = (): string => randomBytes(6).toString('hex');

describe.each([
  { store: 's3api', claims: 'settle' },
  { store: 'radosgw', claims: 'strict' },
] as const)('S3 over $store', ({ store, claims }) => {
  let at: S3Service;
  const bucket = `umbra-s3-${fresh()}`;
  const opened: Driver[] = [];
  const proxies: FaultProxy[] = [];

  beforeAll(async () => {
    at = await endpointOf(store);
  });

  afterEach(async () => {
    for (const driver of opened.splice(0)) await driver.close();
    for (const proxy of proxies.splice(0)) await proxy[Symbol.asyncDispose]();
  });

  async function open(changes: Partial<S3Storage> = {}, deps: Partial<S3Deps> = {}): Promise<Driver> {
    const storage = s3Storage(at, { bucket, prefix: `${fresh()}/`, claims, ...changes });
    const driver = await openS3(storage, { nowMs: Date.now, timers: systemTimers, memoryBytes: 32 * MIB, report: () => undefined, ...deps });
    opened.push(driver);
    return driver;
  }

  /** The store as it is, without the driver. */
  function raw(): S3Client {
    const { endpoint, region, accessKeyId, secretAccessKey } = at;
    return new S3Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED' });
  }

  async function keysUnder(prefix: string): Promise<string[]> {
    const { Contents = [] } = await raw().send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }));
    return Contents.map(({ Key = '' }) => Key.slice(prefix.length));
  }

  async function unfinished(prefix: string): Promise<number> {
    return ((await raw().send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix }))).Uploads ?? []).length;
  }

  /** A driver whose requests go through a proxy; the rules hold once it is open. */
  async function openSpoiled(prefix: string): Promise<{ readonly driver: Driver; readonly proxy: FaultProxy; readonly spoil: (rule: RuleOptions) => { readonly happened: number } }> {
    const proxy = await FaultProxy.start({ origin: at.endpoint, store: 's3' });
    proxies.push(proxy);
    return { proxy, driver: await open({ endpoint: proxy.url, prefix }), spoil: (rule) => proxy.add(rule) };
  }

  async function gather(driver: Driver, ...attempts: readonly Buffer[]): Promise<AssemblyState> {
    let state = driver.assemblies.create('uploads/session');
    for (const bytes of attempts) {
      const appender = await driver.assemblies.append(state);
      for (let from = 0; from < bytes.length; from += 256 * 1024) await appender.write(bytes.subarray(from, from + 256 * 1024));
      state = await appender.finish();
    }
    return state;
  }

  // Every driver of these finds the bucket there, all keep apart by prefixes.
  driverContract('the S3 driver', async () => {
    const prefix = `${fresh()}/`;
    return { open: () => open({ prefix }), close: async () => undefined };
    // In the soak both keep the whole contract; here, what is asked of the store itself, and of the façade what differs.
  }, SOAK ? undefined : store === 's3api' ? ['objects', 'claims'] : ['objects', 'listings', 'claims', 'assemblies']);

  test('it finds out whether conditional puts are a lock, and says so where they are not', async () => {
    const events: string[] = [];
    const driver = await open({ claims: undefined }, { report: ({ kind }) => void events.push(kind) });
    expect(driver.claims).toBe(claims);
    expect(events).toEqual(claims === 'strict' ? [] : ['s3-claims-settle']);
    expect(await all(driver.list(''))).toEqual([]);
  });

  test('strict claims are not promised where they cannot be kept', async () => {
    if (claims === 'strict') expect((await open({ claims: 'strict' })).claims).toBe('strict');
    else await expect(open({ claims: 'strict' })).rejects.toThrow('claims: strict cannot be had from S3 at http://127.0.0.1');
  });

  test('a bucket of its own is made, and what is internal is not in sight', async () => {
    const driver = await open({ bucket: `umbra-s3-${fresh()}`, prefix: '' });
    await driver.put('a/key', Buffer.from('x'));
    const state = await gather(driver, Buffer.from('in progress'));
    expect((await all(driver.list(''))).map(({ key }) => key)).toEqual(['a/key']);
    expect(await all(driver.list('', { startAfter: '!' }))).toHaveLength(1);
    expect(await all(driver.children(''))).toEqual([{ name: 'a', leaf: false }]);
    await driver.assemblies.complete(state, 'a/other');
    await driver.delete(['a/key', 'a/other']);
    expect(await all(driver.list(''))).toEqual([]);
  });

  test('wrong credentials and a bucket that is not ours are named at start', async () => {
    const { accessKeyId } = at;
    await expect(open({ credentials: { accessKeyId, secretAccessKey: new Secret('wrong') } })).rejects.toThrow(/bucket umbra-s3-.* cannot be used: .*403 SignatureDoesNotMatch.*: accessKeyId and the secret/);
    const unknown = open({ credentials: { accessKeyId: 'nobody', secretAccessKey: new Secret('wrong') } });
    await expect(unknown).rejects.toThrow(/bucket umbra-s3-.* cannot be used: .*403 (?:InvalidAccessKeyId|SignatureDoesNotMatch)/);
    await expectFailure(unknown, 'permanent');
    await expectFailure(open({ endpoint: 'http://127.0.0.1:9' }), 'retryable');
  });

  test('segments of any size become one object, and nothing is left over', async () => {
    const prefix = `${fresh()}/`;
    const driver = await open({ prefix });
    const sizes = [17 * MIB, 700_000, 300_000, 2 * MIB, 6 * MIB + 1, 100];
    const attempts = sizes.map((size, index) => patterned(size, index + 1));
    const whole = Buffer.concat(attempts);
    const state = await gather(driver, ...attempts);
    expect(state.offset).toBe(whole.length);
    expect((await wholeOf(driver.assemblies.open(state)))?.equals(whole)).toBe(true);
    const stat = await driver.assemblies.complete(state, 'blobs/data');
    expect(await driver.head('blobs/data')).toEqual(stat);
    expect((await wholeOf(driver.open('blobs/data')))?.equals(whole)).toBe(true);
    expect(await keysUnder(prefix)).toEqual(['blobs/data']);
    expect(await unfinished(prefix)).toBe(0);
  });

  test('whoever follows a running attempt reads on when it is completed', async () => {
    const driver = await open();
    const whole = patterned(12 * MIB);
    const state = await gather(driver, whole);
    const source = await driver.assemblies.open(state);
    const read: Buffer[] = [];
    for await (const chunk of source?.stream({ start: 0, end: whole.length - 1 }) ?? []) {
      if (read.push(chunk) === 1) await driver.assemblies.complete(state, 'key');
    }
    expect(Buffer.concat(read).equals(whole)).toBe(true);
    await source?.close();
  });

  test('a sweep ends multipart uploads that nobody completed', async () => {
    const prefix = `${fresh()}/`;
    const driver = await open({ prefix });
    await raw().send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: `${prefix}blobs/data` }));
    const nowMs = (await driver.clock?.()) ?? 0;
    const inUse = async (): Promise<boolean> => false;
    expect(await driver.assemblies.sweep?.({ beforeMs: nowMs - 60_000, inUse })).toEqual({ removed: 0 });
    expect(await unfinished(prefix)).toBe(1);
    expect(await driver.assemblies.sweep?.({ beforeMs: nowMs + 60_000, inUse })).toEqual({ removed: 1 });
    expect(await unfinished(prefix)).toBe(0);
  });

  test('a client may be sent to the store itself', async () => {
    expect(await open()).toMatchObject({ redirect: undefined });
    const driver = await open({ redirect: 'always' });
    await driver.put('a/b[::1]:5000@x+~', Buffer.from('0123456789'));
    const url = (await driver.redirect?.('a/b[::1]:5000@x+~')) ?? '';
    const answer = await fetch(url, { headers: { range: 'bytes=2-4' } });
    expect([answer.status, await answer.text()]).toEqual([206, '234']);
    expect((await fetch(url.replace(/Signature=./, 'Signature=g'))).status).toBe(403);
  });

  // What of it is the driver's the contract asks, of several processes too.
  test.runIf(SOAK && store === 'radosgw')('registries over one bucket are one', async () => {
    const { endpoint, region, accessKeyId, secretAccessKey } = at;
    const storage = { driver: 's3', bucket, endpoint, region, accessKeyId, secretAccessKey, prefix: fresh(), claims };
    await using ending = new AsyncDisposableStack();
    const start = async (): Promise<string> => ending.adopt(await startUmbra({ storage }), (umbra) => umbra.close()).origin;
    const [a, b] = [await start(), await start()];
    const name = 'quay.io/one/registry';

    const { digest, layer } = await pushImage(a, name, 'latest', 'layer '.repeat(MIB));
    expect(await get(b, `${name}/manifests/latest`)).toMatchObject({ status: 200, digest });
    expect((await get(b, `${name}/blobs/${layer.digest}`)).bytes.equals(layer.bytes)).toBe(true);

    const bytes = patterned(12 * MIB);
    let location = (await fetch(`${a}/v2/${name}/blobs/uploads/`, { method: 'POST' })).headers.get('location') ?? '';
    for (const [origin, from] of [[a, 0], [b, 6 * MIB]] as const) {
      const answer = await fetch(new URL(new URL(location, origin).pathname, origin), { method: 'PATCH', body: new Uint8Array(bytes.subarray(from, from + 6 * MIB)) });
      expect(answer.status).toBe(202);
      location = answer.headers.get('location') ?? '';
    }
    const whole = digestOf(bytes);
    expect((await fetch(new URL(`${new URL(location, a).pathname}?digest=${whole}`, a), { method: 'PUT' })).status).toBe(201);
    expect((await get(b, `${name}/blobs/${whole}`)).bytes.equals(bytes)).toBe(true);

    const moved = await pushImage(b, name, 'latest', 'another layer');
    await expect.poll(async () => (await get(a, `${name}/manifests/latest`)).digest, { timeout: 60_000, interval: 100 }).toBe(moved.digest);
  });

  describe.runIf(store === 'radosgw')('real clients, by signed URLs', () => {
    redirecting(async () => {
      const { endpoint, region, accessKeyId, secretAccessKey } = at;
      return { storage: { driver: 's3', bucket, endpoint, region, accessKeyId, secretAccessKey, prefix: fresh(), claims }, origin: endpoint, signature: 'X-Amz-Signature' };
    });
  });

  test.runIf(store === 'radosgw')('a quota that is reached is `full`', async () => {
    const driver = await open();
    await driver.put('before', Buffer.alloc(100_000));
    const settings = at as RadosgwSettings; // this test runs over it alone
    await limitUser(settings, 1);
    try {
      await expect(driver.put('key', Buffer.alloc(100_000))).rejects.toMatchObject({ failure: 'full', byQuota: true });
      await expectFailure(gather(driver, Buffer.alloc(3 * MIB)), 'full');
    } finally {
      await limitUser(settings, undefined);
    }
  });

  describe('with faults on the way', () => {
    test('a condition that fails because the answer was lost is a success', async () => {
      const { driver, spoil } = await openSpoiled(`${fresh()}/`);
      const lost = spoil({ fault: { kind: 'lost' }, match: { methods: ['PUT'] }, when: 'once per url' });
      await driver.put('key', Buffer.from('x'), { when: 'absent' });
      await expectFailure(driver.put('key', Buffer.from('y'), { when: 'absent' }), 'exists');
      expect(await driver.claim('claim', Buffer.from('one'))).toMatchObject({ won: true, value: Buffer.from('one') });
      expect(await driver.claim('claim', Buffer.from('one'))).toMatchObject({ won: false, value: Buffer.from('one') });
      expect(lost.happened).toBe(2);
    });

    test.each([['several segments', 11 * MIB], ['one segment', 3 * MIB]])('completing %s whose answers are lost completes', async (_, size) => {
      const prefix = `${fresh()}/`;
      const { driver, spoil } = await openSpoiled(prefix);
      const whole = patterned(size);
      const state = await gather(driver, whole);
      const lost = spoil({ fault: { kind: 'lost' }, match: { methods: ['PUT', 'POST'] }, when: 'once per url' });
      await driver.assemblies.complete(state, 'key');
      expect((await wholeOf(driver.open('key')))?.equals(whole)).toBe(true);
      expect(lost.happened).toBeGreaterThan(1);
      expect(await keysUnder(prefix)).toEqual(['key']);
    });

    test.each<[string, RuleOptions['fault']]>([
      ['cut', { kind: 'reset', at: 'response body' }],
      ['shorter than promised', { kind: 'truncated', end: 'closed' }],
      ['shorter than the object', { kind: 'truncated', end: 'clean' }],
    ])('a body that is %s is gone on with', async (_, fault) => {
      const { driver, proxy, spoil } = await openSpoiled(`${fresh()}/`);
      const whole = patterned(2 * MIB);
      await driver.put('key', whole);
      const read = async (): Promise<number> => {
        const before = proxy.requests;
        expect((await wholeOf(driver.open('key')))?.equals(whole)).toBe(true);
        expect((await driver.get('key'))?.bytes.equals(whole)).toBe(true);
        return proxy.requests - before;
      };
      const undisturbed = await read();
      spoil({ fault, match: { methods: ['GET'], listing: false }, when: { every: 2 } });
      expect(await read()).toBeGreaterThan(undisturbed + 1);
    });

    test('bytes that are damaged on the way in are never in sight, those of records not on the way out', async () => {
      const { driver, spoil } = await openSpoiled(`${fresh()}/`);
      const written = spoil({ fault: { kind: 'corrupted', body: 'request' }, match: { methods: ['PUT'] }, when: 'once per url' });
      await driver.put('record', Buffer.from('a record of some length'));
      const whole = patterned(3 * MIB);
      const state = await gather(driver, whole);
      expect((await wholeOf(driver.assemblies.open(state)))?.equals(whole)).toBe(true);
      expect(written.happened).toBeGreaterThan(1);
      const read = spoil({ fault: { kind: 'corrupted', body: 'response' }, match: { methods: ['GET'] }, when: 'once per url' });
      expect(text((await driver.get('record'))?.bytes)).toBe('a record of some length');
      expect(read.happened).toBe(1);
    });

    test('what the store refuses now and then comes through', async () => {
      const prefix = `${fresh()}/`;
      const { driver, spoil } = await openSpoiled(prefix);
      const refused = spoil({ fault: { kind: 'status', status: 503 }, when: { probability: 0.2 } });
      const reset = spoil({ fault: { kind: 'reset', at: 'request body' }, match: { methods: ['PUT'] }, when: { probability: 0.1 } });
      const whole = patterned(13 * MIB);
      await driver.assemblies.complete(await gather(driver, whole.subarray(0, 500_000), whole.subarray(500_000)), 'key');
      expect((await wholeOf(driver.open('key')))?.equals(whole)).toBe(true);
      await driver.put('other', Buffer.from('x'));
      expect((await all(driver.list(''))).map(({ key }) => key)).toEqual(['key', 'other']);
      await driver.delete(['key', 'other']);
      expect(await all(driver.list(''))).toEqual([]);
      expect(refused.happened + reset.happened).toBeGreaterThan(0);
    });
  });
});
