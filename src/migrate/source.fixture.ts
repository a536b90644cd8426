/** Writes stores as Distribution and a zuul-registry lay them out, for tests that read them. */
import type { FakeContent } from '../../test/support/fake-content.ts';
import type { Driver } from '../drivers/driver.ts';
import { hexOf, type Digest } from '../oci/digest.ts';

export const DISTRIBUTION_ROOT = 'docker/registry/v2/';
export const ZUUL_ROOT = '_local/';

export const distributionKeys = {
  blob: (digest: Digest): string => `${DISTRIBUTION_ROOT}blobs/sha256/${hexOf(digest).slice(0, 2)}/${hexOf(digest)}/data`,
  revision: (path: string, digest: Digest): string => `${DISTRIBUTION_ROOT}repositories/${path}/_manifests/revisions/sha256/${hexOf(digest)}/link`,
  tag: (path: string, tag: string): string => `${DISTRIBUTION_ROOT}repositories/${path}/_manifests/tags/${tag}/current/link`,
  layer: (path: string, digest: Digest): string => `${DISTRIBUTION_ROOT}repositories/${path}/_layers/sha256/${hexOf(digest)}/link`,
} as const;

export async function writeDistribution(store: Driver, content: FakeContent): Promise<void> {
  for (const [path, { blobs, manifests, tags }] of content.repositories) {
    for (const [digest, bytes] of blobs) {
      await store.put(distributionKeys.blob(digest as Digest), bytes);
      await store.put(distributionKeys.layer(path, digest as Digest), Buffer.from(digest));
    }
    for (const { digest, bytes } of manifests.values()) {
      await store.put(distributionKeys.blob(digest), bytes);
      await store.put(distributionKeys.revision(path, digest), Buffer.from(digest));
    }
    for (const [tag, digest] of tags) {
      await store.put(distributionKeys.tag(path, tag), Buffer.from(digest));
      await store.put(`${DISTRIBUTION_ROOT}repositories/${path}/_manifests/tags/${tag}/index/sha256/${hexOf(digest)}/link`, Buffer.from(digest));
    }
    await store.put(`${DISTRIBUTION_ROOT}repositories/${path}/_uploads/0b4f/startedat`, Buffer.from('2020-01-01T00:00:00Z'));
  }
}

export const zuulKeys = {
  blob: (digest: Digest): string => `${ZUUL_ROOT}blobs/${digest}/data`,
  record: (path: string, ref: string): string => `${ZUUL_ROOT}repos/${path}/manifests/${ref}`,
} as const;

export async function writeZuul(store: Driver, content: FakeContent): Promise<void> {
  for (const [path, { blobs, manifests, tags }] of content.repositories) {
    for (const [digest, bytes] of blobs) await store.put(zuulKeys.blob(digest as Digest), bytes);
    for (const { digest, bytes, mediaType } of manifests.values()) {
      await store.put(zuulKeys.blob(digest), bytes);
      await store.put(zuulKeys.record(path, digest), Buffer.from(JSON.stringify({ [mediaType]: digest })));
    }
    for (const [tag, digest] of tags) {
      const mediaType = manifests.get(digest)?.mediaType ?? '';
      await store.put(zuulKeys.record(path, tag), Buffer.from(JSON.stringify({ [mediaType]: digest })));
    }
  }
}
