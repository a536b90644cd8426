import { expect, it } from 'vitest';
import { fakeUpstream } from '../../test/support/fake-upstream.ts';
import { upstreamConfig } from '../../test/support/upstream-client.ts';
import { upstreams } from './set.ts';

it('gives one client per host, none for local and unknown ones, and closes them all', async () => {
  const fake = await fakeUpstream();
  const config = upstreamConfig(fake.url);
  const nothing = (): void => undefined;
  const set = upstreams([config, { ...config, host: 'private.test', policy: 'local' }, { ...config, host: 'curated.test', policy: 'approved' }], {
    nowMs: () => 0, env: {}, version: '1', manifestBytes: 1000, observe: { answered: nothing, failed: nothing, rateLimit: nothing },
  });
  const found = set.get('registry.test');
  expect(found?.host).toBe('registry.test');
  expect(set.get('registry.test')).toBe(found);
  expect(set.get('curated.test')?.host).toBe('curated.test');
  expect([set.get('private.test'), set.get('unknown.test')]).toEqual([undefined, undefined]);
  expect(await found?.getManifest('org/app', 'latest')).toBeUndefined();
  await set.close();
  await expect(found?.getManifest('org/app', 'latest')).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
  await fake.close();
});
