/** Resolving and pull-through (DESIGN sections 4 and 6), over HTTP on both sides, with the server's clock in hand. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { fakeUpstream, type FakeUpstream } from '../support/fake-upstream.ts';
import { get, pushBlob, pushImage, putManifest } from '../support/push.ts';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';

const TTL_MS = 60_000;
const NEGATIVE_TTL_MS = 5_000;

let hub: FakeUpstream;
let quay: FakeUpstream;
let umbra: TestUmbra;
let nowMs: number;

beforeEach(async () => {
  nowMs = Date.UTC(2026, 0, 1);
  [hub, quay] = await Promise.all([fakeUpstream(), fakeUpstream()]);
  umbra = await startUmbra({
    upstreams: {
      'docker.io': { url: hub.url, ttl: '60s', negativeTtl: '5s', timeout: '5s' },
      'quay.io': { url: quay.url, policy: 'approved' },
      'ghcr.io': { url: quay.url, policy: 'local' },
    },
    views: { define: { staging: { parents: ['main'] }, approved: {} } },
    auth: { keyFile: './key', anonymous: 'push', users: [{ name: 'batch', password: 'b', access: 'push' }], rules: [{ who: 'batch', names: ['*'], views: ['approved'], may: ['pull', 'push', 'delete'] }] },
  }, { nowMs: () => nowMs });
});

afterEach(async () => {
  await umbra.close();
  await Promise.all([hub.close(), quay.close()]);
});

const pull = (path: string, init?: RequestInit) => get(umbra.origin, path, init);
const app = (reference: string): string => `library/app/manifests/${reference}`;

describe('shadowing', () => {
  it('what was pushed wins, what was not comes from upstream, deleting uncovers', async () => {
    const theirs = hub.content.addImage('library/app', { tag: '1' });
    const others = hub.content.addImage('library/app', { tag: '2' });
    expect(await pull(app('1'))).toMatchObject({ status: 200, digest: theirs.digest, source: 'upstream=docker.io; cache=fill' });
    const ours = await pushImage(umbra.origin, 'library/app', '1', 'ours');
    expect(await pull(app('1'))).toMatchObject({ status: 200, digest: ours.digest, source: 'view=main' });
    expect(await pull(app('2'))).toMatchObject({ status: 200, digest: others.digest });
    expect((await pull(app(ours.digest), { method: 'DELETE' })).status).toBe(202);
    expect(await pull(app('1'))).toMatchObject({ status: 200, digest: theirs.digest, source: 'upstream=docker.io; cache=hit' });
  });

  it('a tag deleted in the view uncovers upstream too, and cannot be deleted twice', async () => {
    const theirs = hub.content.addImage('library/app', { tag: '1' });
    await pushImage(umbra.origin, 'library/app', '1', 'ours');
    expect((await pull(app('1'), { method: 'DELETE' })).status).toBe(202);
    expect(await pull(app('1'))).toMatchObject({ digest: theirs.digest });
    expect((await pull(app('1'), { method: 'DELETE' })).status).toBe(404);
  });

  it('upstream is not asked at all for a tag that was pushed', async () => {
    hub.content.addImage('library/app', { tag: '1' });
    await pushImage(umbra.origin, 'library/app', '1', 'ours');
    const before = hub.count({ kind: 'manifest' });
    await pull(app('1'));
    expect(hub.count({ kind: 'manifest' })).toBe(before);
  });

  it('every entrance sees the same image', async () => {
    const ours = await pushImage(umbra.origin, 'docker.io/library/app', '1', 'ours');
    for (const path of [app('1'), 'app/manifests/1', 'docker.io/app/manifests/1', `${app('1')}?ns=docker.io`, 'index.docker.io/app/manifests/1', 'main.view/app/manifests/1']) {
      expect(await pull(path), path).toMatchObject({ status: 200, digest: ours.digest });
    }
    expect((await pull(`${app('1')}?ns=docker.io`)).headers.get('oci-namespace')).toBe('docker.io');
  });

  it('a view shadows its parents and falls through to them, then to upstream', async () => {
    const theirs = hub.content.addImage('library/app', { tag: 'upstream' });
    const inMain = await pushImage(umbra.origin, 'library/app', 'main', 'in main');
    const staged = await pushImage(umbra.origin, 'staging.view/library/app', 'staged', 'staged');
    const covers = await pushImage(umbra.origin, 'staging.view/library/app', 'main', 'covers');
    expect(await pull(`staging.view/${app('staged')}`)).toMatchObject({ digest: staged.digest, source: 'view=staging' });
    expect(await pull(`staging.view/${app('main')}`)).toMatchObject({ digest: covers.digest, source: 'view=staging' });
    expect(await pull(app('main'))).toMatchObject({ digest: inMain.digest, source: 'view=main' });
    expect(await pull(`staging.view/${app('upstream')}`)).toMatchObject({ digest: theirs.digest });
    expect((await pull(app('staged'))).status).toBe(404);
    expect((await pull(`nowhere.view/${app('main')}`)).status).toBe(404);
  });
});

describe('policies', () => {
  it('approved: only what was pushed into the approved view, upstream is never contacted', async () => {
    quay.content.addImage('org/app', { tag: '1' });
    expect((await pull('quay.io/org/app/manifests/1')).status).toBe(404);
    const blob = Buffer.from('layer');
    const authorization = `Basic ${Buffer.from('batch:b').toString('base64')}`;
    const pushed = await fetch(`${umbra.origin}/v2/approved.view/quay.io/org/app/blobs/uploads/?digest=${digestOf(blob)}`, { method: 'POST', headers: { authorization }, body: blob });
    expect(pushed.status).toBe(201);
    const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: { mediaType: 'application/json', digest: digestOf(blob), size: blob.length }, layers: [] };
    const put = await fetch(`${umbra.origin}/v2/approved.view/quay.io/org/app/manifests/1`, { method: 'PUT', headers: { authorization, 'content-type': MEDIA_TYPES.ociManifest }, body: JSON.stringify(manifest) });
    expect(put.status).toBe(201);
    expect(await pull('quay.io/org/app/manifests/1')).toMatchObject({ status: 200, source: 'view=approved' });
    expect((await pull(`quay.io/org/app/blobs/${digestOf(blob)}`)).bytes).toEqual(blob);
    expect(quay.requests).toHaveLength(0);
  });

  it('approved is not pushed to without a rule that says so', async () => {
    const answer = await putManifest(umbra.origin, 'approved.view/quay.io/org/app', '1', {});
    expect([401, 403]).toContain(answer.status);
  });

  it.each(['ghcr.io', 'registry.example.org'])('local, or not configured: %s is never contacted', async (host) => {
    expect((await pull(`${host}/org/app/manifests/1`)).status).toBe(404);
    const ours = await pushImage(umbra.origin, `${host}/org/app`, '1', 'ours');
    expect(await pull(`${host}/org/app/manifests/1`)).toMatchObject({ digest: ours.digest });
    expect(quay.requests).toHaveLength(0);
  });

  it('what was cached is shown to nobody while the policy is another one', async () => {
    expect((await pull('upstream.view/quay.io/org/app/manifests/1')).status).toBe(404);
    const storage = { driver: 'filesystem', root: mkdtempSync(join(tmpdir(), 'umbra-policy-')) };
    hub.content.addImage('library/app', { tag: '1' });
    const proxying = await startUmbra({ storage, upstreams: { 'docker.io': { url: hub.url } } });
    expect((await get(proxying.origin, app('1'))).status).toBe(200);
    await proxying.close();
    const curating = await startUmbra({ storage, upstreams: { 'docker.io': { url: hub.url, policy: 'approved' } } });
    for (const path of [app('1'), `upstream.view/${app('1')}`]) expect((await get(curating.origin, path)).status, path).toBe(404);
    await curating.close();
    rmSync(storage.root, { recursive: true });
  });

  it('nobody pushes into the upstream view', async () => {
    const answer = await fetch(`${umbra.origin}/v2/upstream.view/library/app/blobs/uploads/`, { method: 'POST', headers: { authorization: `Basic ${Buffer.from('batch:b').toString('base64')}` } });
    expect([401, 403, 405]).toContain(answer.status);
  });
});

describe('freshness', () => {
  it('a tag is believed for ttl, then looked at by HEAD, and got again only when it moved', async () => {
    const first = hub.content.addImage('library/app', { tag: '1' });
    await pull(app('1'));
    expect(await pull(app('1'))).toMatchObject({ source: 'upstream=docker.io; cache=hit' });
    expect(hub.count({ kind: 'manifest' })).toBe(2); // HEAD, GET
    nowMs += TTL_MS + 1;
    expect(await pull(app('1'))).toMatchObject({ digest: first.digest, source: 'upstream=docker.io; cache=revalidated' });
    expect(hub.count({ kind: 'manifest', method: 'GET' })).toBe(1);
    const second = hub.content.addImage('library/app', { tag: '1' });
    expect(await pull(app('1'))).toMatchObject({ digest: first.digest });
    nowMs += TTL_MS + 1;
    expect(await pull(app('1'))).toMatchObject({ digest: second.digest, source: 'upstream=docker.io; cache=fill' });
    expect(await pull(app(first.digest))).toMatchObject({ status: 200, digest: first.digest });
  });

  it('an absent tag is remembered for negativeTtl only', async () => {
    expect((await pull(app('1'))).status).toBe(404);
    const asked = hub.count({ kind: 'manifest' });
    expect((await pull(app('1'))).status).toBe(404);
    expect(hub.count({ kind: 'manifest' })).toBe(asked);
    hub.content.addImage('library/app', { tag: '1' });
    nowMs += NEGATIVE_TTL_MS + 1;
    expect((await pull(app('1'))).status).toBe(200);
  });

  it('a tag that upstream deleted is gone after ttl, its digest stays', async () => {
    const image = hub.content.addImage('library/app', { tag: '1' });
    await pull(app('1'));
    hub.content.repository('library/app').tags.delete('1');
    nowMs += TTL_MS + 1;
    expect((await pull(app('1'))).status).toBe(404);
    expect((await pull(app(image.digest))).status).toBe(200);
  });

  it('many clients that ask at once cost upstream one question', async () => {
    hub.content.addImage('library/app', { tag: '1' });
    const hold = Promise.withResolvers<void>();
    hub.misbehave({ kind: 'manifest' }, { hold: hold.promise });
    const all = Array.from({ length: 20 }, () => pull(app('1')));
    await hub.arrived({ kind: 'manifest' });
    hold.resolve();
    expect((await Promise.all(all)).map((answer) => answer.status)).toEqual(Array.from({ length: 20 }, () => 200));
    expect(hub.count({ kind: 'manifest' })).toBe(2);
  });
});

describe('upstream in trouble', () => {
  it.each([
    ['answers 500', { status: 500 }],
    ['hangs up', { hangUp: true }],
    ['answers 429', { status: 429, headers: { 'retry-after': '30' } }],
    ['answers HTML', { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } }],
  ] as const)('%s: what is kept is answered stale with a Warning, what is not is an error', async (_, how) => {
    const image = hub.content.addImage('library/app', { tag: '1' });
    await pull(app('1'));
    nowMs += TTL_MS + 1;
    hub.misbehave({}, how);
    const stale = await pull(app('1'));
    expect(stale).toMatchObject({ status: 200, digest: image.digest, source: 'upstream=docker.io; cache=stale' });
    expect(stale.warning).toMatch(/^299 - "docker\.io could not be asked/);
    const unknown = await pull('library/other/manifests/1');
    expect(unknown.status).toBeGreaterThanOrEqual(429);
    expect(JSON.parse(unknown.bytes.toString())).toMatchObject({ errors: [{ code: expect.stringMatching(/^(UPSTREAM_FAILED|TOOMANYREQUESTS)$/) }] });
  });

  it('while it is down, stale answers do not wait for it each time', async () => {
    hub.content.addImage('library/app', { tag: '1' });
    await pull(app('1'));
    nowMs += TTL_MS + 1;
    const healed = hub.misbehave({}, { status: 503 });
    await pull(app('1'));
    const asked = hub.requests.length;
    await pull(app('1'));
    expect(hub.requests.length).toBe(asked);
    healed();
    nowMs += NEGATIVE_TTL_MS + 1;
    expect(await pull(app('1'))).toMatchObject({ source: 'upstream=docker.io; cache=revalidated', warning: null });
  });

  it('429 tells the client when to come back', async () => {
    hub.misbehave({}, { status: 429, headers: { 'retry-after': '30' } });
    const answer = await pull(app('1'));
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  });
});

describe('blobs', () => {
  it('a blob is downloaded once and linked; HEAD fetches nothing', async () => {
    const image = hub.content.addImage('library/app', { tag: '1', layers: [100_000] });
    const layer = image.layers[0];
    const path = `library/app/blobs/${layer?.digest}`;
    const head = await pull(path, { method: 'HEAD' });
    expect(head.headers.get('content-length')).toBe('100000');
    expect(hub.count({ kind: 'blob', method: 'GET' })).toBe(0);
    const filled = await pull(path);
    expect(filled).toMatchObject({ status: 200, source: 'upstream=docker.io; cache=fill' });
    expect(filled.bytes).toEqual(layer?.bytes);
    expect(await pull(path)).toMatchObject({ status: 200, source: 'upstream=docker.io; cache=hit', bytes: layer?.bytes });
    expect(hub.count({ kind: 'blob', method: 'GET' })).toBe(1);
  });

  it('bytes that another name brought give no right until upstream confirms them', async () => {
    const image = hub.content.addImage('library/app', { layers: [5_000] });
    const digest = image.layers[0]?.digest;
    await pull(`library/app/blobs/${digest}`);
    expect((await pull(`library/other/blobs/${digest}`)).status).toBe(404);
    expect((await pull(`quay.io/library/app/blobs/${digest}`)).status).toBe(404);
    hub.content.addBlob('library/third', image.layers[0]?.bytes ?? Buffer.alloc(0));
    expect((await pull(`library/third/blobs/${digest}`)).status).toBe(200);
    expect(hub.count({ kind: 'blob', method: 'GET' })).toBe(1);
  });

  it('what upstream answers wrongly reaches nobody whole, and is not stored', async () => {
    const image = hub.content.addImage('library/app', { layers: [300_000] });
    const path = `library/app/blobs/${image.layers[0]?.digest}`;
    // Once, and once more when it is tried again by itself.
    hub.misbehave({ kind: 'blob', method: 'GET' }, { corrupt: true }, 2);
    await expect(pull(path)).rejects.toThrow(/terminated|fetch failed|socket/);
    const outcomes: (Buffer | undefined)[] = [];
    // A reader may still meet the second attempt.
    while (outcomes.at(-1) === undefined && outcomes.length < 3) outcomes.push(await pull(path).then(({ bytes }) => bytes, () => undefined));
    expect(outcomes.at(-1)).toEqual(image.layers[0]?.bytes);
  });
});

describe('pushing over upstream', () => {
  it('a manifest whose base layers only upstream has is accepted, and holds them from then on', async () => {
    const base = hub.content.addImage('library/app', { tag: 'base', layers: [20_000] });
    const layer = base.layers[0];
    const config = Buffer.from('{"ours":true}');
    await pushBlob(umbra.origin, 'library/app', config);
    const manifest = {
      schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest,
      config: { mediaType: 'application/json', digest: digestOf(config), size: config.length },
      layers: [{ mediaType: 'application/octet-stream', digest: layer?.digest, size: layer?.bytes.length }],
    };
    expect((await putManifest(umbra.origin, 'library/app', 'ours', manifest)).status).toBe(201);
    hub.misbehave({}, { status: 500 });
    expect((await pull(`library/app/blobs/${layer?.digest}`)).bytes).toEqual(layer?.bytes);
  });

  it('a manifest that needs what nobody has is refused and leaves nothing', async () => {
    const missing = digestOf(Buffer.from('nowhere'));
    const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: { mediaType: 'application/json', digest: missing, size: 7 }, layers: [] };
    const answer = await putManifest(umbra.origin, 'library/app', 'broken', manifest);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ errors: [{ code: 'MANIFEST_BLOB_UNKNOWN', detail: [{ digest: missing }] }] });
    expect((await pull(app('broken'))).status).toBe(404);
  });

  it('a size that is not the blob\'s is refused', async () => {
    const config = Buffer.from('{}');
    await pushBlob(umbra.origin, 'library/app', config);
    const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: { mediaType: 'application/json', digest: digestOf(config), size: 3 }, layers: [] };
    const answer = await putManifest(umbra.origin, 'library/app', 'broken', manifest);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ errors: [{ code: 'SIZE_INVALID' }] });
  });

  it('a view takes over the children of an index that its parent has, and needs the parent no more', async () => {
    const child = await pushImage(umbra.origin, 'library/app', 'child', 'child');
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [{ mediaType: MEDIA_TYPES.ociManifest, digest: child.digest, size: child.bytes.length }] };
    expect((await putManifest(umbra.origin, 'staging.view/library/app', 'multi', index, MEDIA_TYPES.ociIndex)).status).toBe(201);
    await pull(app(child.digest), { method: 'DELETE' });
    await pull(`library/app/blobs/${child.layer.digest}`, { method: 'DELETE' });
    expect(await pull(`staging.view/${app(child.digest)}`)).toMatchObject({ status: 200, source: 'view=staging' });
    expect((await pull(`staging.view/library/app/blobs/${child.layer.digest}`)).bytes).toEqual(child.layer.bytes);
  });

  it('an index passes byte for byte, and only the children that are asked for are fetched', async () => {
    const amd = hub.content.addImage('library/app', { architecture: 'amd64' });
    const arm = hub.content.addImage('library/app', { architecture: 'arm64' });
    const text = `{ "schemaVersion": 2,\n  "mediaType": "${MEDIA_TYPES.ociIndex}", "manifests": [${[amd, arm].map((m) => `{"mediaType":"${MEDIA_TYPES.ociManifest}","digest":"${m.digest}","size":${m.bytes.length}}`).join()}] }\n`;
    const index = hub.content.addManifest('library/app', Buffer.from(text), MEDIA_TYPES.ociIndex, 'multi');
    const got = await pull(app('multi'));
    expect(got.bytes.toString()).toBe(text);
    expect(got.digest).toBe(index.digest);
    await pull(app(arm.digest));
    expect(hub.count({ kind: 'manifest', reference: amd.digest })).toBe(0);
  });
});

describe('pages about the server', () => {
  it.each([
    ['healthz', /^ok/],
    ['readyz', /^ok/],
    ['metrics', /^umbra_requests_total\{route="manifest",method="GET",status="404"\} 1$/m],
  ])('/%s', async (page, expected) => {
    await pull('ghcr.io/org/app/manifests/1');
    const answer = await fetch(`${umbra.origin}/${page}`);
    expect(answer.status).toBe(200);
    expect(await answer.text()).toMatch(expected);
  });
});

describe('lists', () => {
  it('tags are the union of the views walked and upstream, in order, each once', async () => {
    for (const tag of ['b', 'C', 'both']) hub.content.addImage('library/app', { tag });
    await pushImage(umbra.origin, 'library/app', 'both', 'ours');
    await pushImage(umbra.origin, 'staging.view/library/app', 'a', 'staged');
    const listed = await pull('staging.view/library/app/tags/list');
    expect(JSON.parse(listed.bytes.toString())).toEqual({ name: 'staging.view/library/app', tags: ['a', 'b', 'both', 'C'] });
  });

  it('when upstream cannot be asked the list says so', async () => {
    await pushImage(umbra.origin, 'library/app', 'ours', 'ours');
    hub.misbehave({}, { status: 500 });
    const listed = await pull('library/app/tags/list');
    expect(JSON.parse(listed.bytes.toString())).toMatchObject({ tags: ['ours'] });
    expect(listed.warning).toMatch(/could not be asked/);
  });

  it('a list of which nothing is known is an error while upstream cannot be asked, not an absence', async () => {
    hub.misbehave({}, { status: 500 });
    expect((await pull('library/unknown/tags/list')).status).toBe(502);
  });

  it('referrers are the union of what was pushed and upstream\'s', async () => {
    const image = hub.content.addImage('library/app', { tag: '1' });
    const theirs = hub.content.addImage('library/app', { subject: image, artifactType: 'application/sbom' });
    const config = Buffer.from('{}');
    await pushBlob(umbra.origin, 'library/app', config);
    const ours = Buffer.from(JSON.stringify({
      schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, artifactType: 'application/signature',
      config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf(config), size: 2 }, layers: [],
      subject: { mediaType: image.mediaType, digest: image.digest, size: image.bytes.length },
    }));
    expect((await putManifest(umbra.origin, 'library/app', digestOf(ours), ours)).headers.get('oci-subject')).toBe(image.digest);
    const listed = JSON.parse((await pull(`library/app/referrers/${image.digest}`)).bytes.toString()) as { manifests: { digest: string }[] };
    expect(listed.manifests.map((m) => m.digest).toSorted()).toEqual([theirs.digest, digestOf(ours)].toSorted());
    const filtered = await pull(`library/app/referrers/${image.digest}?artifactType=application/signature`);
    expect(JSON.parse(filtered.bytes.toString())).toMatchObject({ manifests: [{ digest: digestOf(ours) }] });
    expect(filtered.headers.get('oci-filters-applied')).toBe('artifactType');
  });

  it('the catalogue lists what is stored, as this listener writes it', async () => {
    hub.content.addImage('library/theirs', { tag: '1' });
    await pull('library/theirs/manifests/1');
    await pushImage(umbra.origin, 'library/ours', '1', 'ours');
    await pushImage(umbra.origin, 'ghcr.io/org/app', '1', 'ours');
    expect(JSON.parse((await pull('_catalog')).bytes.toString())).toEqual({ repositories: ['ghcr.io/org/app', 'library/ours', 'library/theirs'] });
    const first = await pull('_catalog?n=2');
    expect(first.headers.get('link')).toBe('</v2/_catalog?n=2&last=library%2Fours>; rel="next"');
    expect(JSON.parse((await pull('_catalog?n=2&last=library%2Fours')).bytes.toString())).toEqual({ repositories: ['library/theirs'] });
  });
});
