/** For tests: a blob taken in as a client's upload is, from the session to its commit. */
import { digestOf } from '../oci/digest.ts';
import type { Content } from './content.ts';
import type { Repo } from './keys.ts';
import type { Need } from './manifests.ts';

/** @returns what a manifest that needs it says of it */
export async function upload(store: Content, repo: Repo, bytes: Buffer): Promise<Need> {
  const digest = digestOf(bytes);
  const session = await store.uploads.create(repo, 'sha256');
  const poured = await store.uploads.append(session, async (appender, hash) => {
    hash.update(bytes);
    await appender.write(bytes);
    return {};
  });
  return { digest, ...(await store.uploads.finish(poured, digest)) };
}
