/** Taking a blob over from another store: bytes are no right, and no bytes, in a store that does not hold them. */
import type { ForeignObject, Source } from '../drivers/driver.ts';
import { algorithmOf, type Digest } from '../oci/digest.ts';
import type { Stored } from './blobs.ts';
import type { Content } from './content.ts';
import type { Repo } from './keys.ts';
import type { LinkRecord } from './records.ts';

export interface CopySource {
  readonly content: Content;
  readonly repo: Repo;
  readonly link: LinkRecord;
}

/** Stores and links the blob in `repo` as an upload would: streamed, hashed, compared. @throws RegistryError DIGEST_INVALID */
export async function copyBlob(digest: Digest, from: CopySource, to: Content, repo: Repo): Promise<Stored> {
  const { source } = await from.content.links.open(from.repo, digest, from.link);
  try {
    return await takeBlob(digest, source, to, repo);
  } finally {
    await source.close();
  }
}

/** What a blob is taken from. */
export interface Takeable extends Pick<Source, 'stat' | 'stream'> {
  /** Where our store may copy it from by itself; the copy is then read back and hashed before it counts. */
  readonly foreign?: ForeignObject | undefined;
}

/** The same for bytes that any store has open. The caller closes the source. @throws RegistryError DIGEST_INVALID, or what reading fails with */
export async function takeBlob(digest: Digest, source: Takeable, to: Content, repo: Repo, signal?: AbortSignal): Promise<Stored> {
  const { foreign, stat } = source;
  const session = await to.uploads.create(repo, algorithmOf(digest));
  try {
    const copied = foreign === undefined ? undefined : await to.uploads.copy(session, foreign, { signal });
    const whole =
      copied ??
      (await to.uploads.append(session, async (appender, hash) => {
        if (stat.size > 0) {
          for await (const chunk of source.stream({ start: 0, end: stat.size - 1 }, { signal })) {
            hash.update(chunk);
            await appender.write(chunk);
          }
        }
        return {};
      }));
    return await to.uploads.finish(whole, digest);
  } catch (error) {
    await to.uploads.cancel(session).catch(() => undefined);
    throw error;
  }
}
