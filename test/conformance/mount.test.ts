/** Distribution-spec 1.1.1, "Mounting a blob from another repository" (end-11). */
import { describe, expect, test } from 'vitest';
import { blob, image, TYPES, unknownDigest, type Algorithm } from './content.ts';
import { expectBlob, expectError, location, pushBlob, pushManifest, useRegistry, withQuery } from './registry.ts';

const registry = useRegistry();

const mount = (name: string, digest: string, from?: string) =>
  registry.send('POST', withQuery(`/v2/${name}/blobs/uploads/`, { mount: digest, ...(from === undefined ? {} : { from }) }), {
    headers: { 'content-length': '0' },
  });

describe('end-11: POST /v2/<name>/blobs/uploads/?mount=<digest>&from=<other>', () => {
  test.each<Algorithm>(['sha256', 'sha512'])(
    'end-11: a %s blob of another name is mounted: 201 with its location and digest',
    async (algorithm) => {
      const [from, to] = [registry.freshName(), registry.freshName()];
      const what = blob(2000, TYPES.layer, algorithm);
      await pushBlob(registry, from, what);
      const answer = await mount(to, what.digest, from);
      expect(answer.status).toBe(201);
      expect(answer.header('docker-content-digest')).toBe(what.digest);
      expect((await registry.send('GET', location(answer))).body.equals(what.bytes)).toBe(true);
      await expectBlob(registry, to, what);
    },
  );

  test('end-11: a mounted blob can be part of a manifest', async () => {
    const [from, to] = [registry.freshName(), registry.freshName()];
    const [config, layer] = [blob(20, TYPES.config), blob()];
    for (const what of [config, layer]) {
      await pushBlob(registry, from, what);
      expect((await mount(to, what.digest, from)).status).toBe(201);
    }
    await pushManifest(registry, to, image(config, [layer]), 'mounted');
  });

  test('end-11: a mounted blob outlives the one it was mounted from', async () => {
    const [from, to] = [registry.freshName(), registry.freshName()];
    const what = blob();
    await pushBlob(registry, from, what);
    expect((await mount(to, what.digest, from)).status).toBe(201);
    expect((await registry.send('DELETE', `/v2/${from}/blobs/${what.digest}`)).status).toBe(202);
    expect((await registry.send('HEAD', `/v2/${from}/blobs/${what.digest}`)).status).toBe(404);
    await expectBlob(registry, to, what);
  });

  test('end-11: mounting what the name already has, or from itself, is 201', async () => {
    const name = registry.freshName();
    const what = blob();
    await pushBlob(registry, name, what);
    expect((await mount(name, what.digest, name)).status).toBe(201);
    await expectBlob(registry, name, what);
  });

  test.each([
    ['a blob that is nowhere', unknownDigest, (other: string) => other],
    ['a name that is nowhere', unknownDigest, () => 'conformance/nowhere/at/all'],
  ])('end-11: %s begins an upload instead: 202, and the upload works', async (_, digest, from) => {
    const [other, to] = [registry.freshName(), registry.freshName()];
    await pushBlob(registry, other, blob());
    const answer = await mount(to, digest(), from(other));
    expect(answer.status).toBe(202);
    const what = blob();
    const put = await registry.send('PUT', withQuery(location(answer), { digest: what.digest }), { body: what.bytes });
    expect(put.status).toBe(201);
    await expectBlob(registry, to, what);
  });

  test('end-11: a blob that another name has, but not the one named, is not mounted', async () => {
    const [holder, from, to] = [registry.freshName(), registry.freshName(), registry.freshName()];
    const what = blob();
    await pushBlob(registry, holder, what);
    await pushBlob(registry, from, blob());
    expect((await mount(to, what.digest, from)).status).toBe(202);
    expect((await registry.send('HEAD', `/v2/${to}/blobs/${what.digest}`)).status).toBe(404);
  });

  test('end-11: a deleted blob cannot be mounted', async () => {
    const [from, to] = [registry.freshName(), registry.freshName()];
    const what = blob();
    await pushBlob(registry, from, what);
    await registry.send('DELETE', `/v2/${from}/blobs/${what.digest}`);
    expect((await mount(to, what.digest, from)).status).toBe(202);
  });

  test('end-11: without from it is mounted (201) or uploaded (202), and the answer is true', async () => {
    const to = registry.freshName();
    const what = blob();
    await pushBlob(registry, registry.freshName(), what);
    const answer = await mount(to, what.digest);
    expect([201, 202]).toContain(answer.status);
    expect((await registry.send('HEAD', `/v2/${to}/blobs/${what.digest}`)).status).toBe(answer.status === 201 ? 200 : 404);
    if (answer.status === 202) {
      expect((await registry.send('PUT', withQuery(location(answer), { digest: what.digest }), { body: what.bytes })).status).toBe(201);
    }
    await expectBlob(registry, to, what);
  });

  test('end-11: without from and unknown everywhere it begins an upload: 202', async () => {
    expect((await mount(registry.freshName(), unknownDigest())).status).toBe(202);
  });

  test.each([
    ['sha256:abc', 'conformance/x'],
    ['', 'conformance/x'],
    ['md5:d41d8cd98f00b204e9800998ecf8427e', 'conformance/x'],
    [unknownDigest(), 'UPPER/case'],
    [unknownDigest(), '../../etc'],
    [unknownDigest(), ''],
  ])('end-11: mount=%s from=%s is refused or begins an upload, and mounts nothing', async (digest, from) => {
    const answer = await mount(registry.freshName(), digest, from);
    if (answer.status !== 202) expectError(answer, 400, 'DIGEST_INVALID', 'NAME_INVALID');
  });
});
