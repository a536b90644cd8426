/**
 * The store that a zuul-registry left, of whichever kind, with images in it: written object by object as that writes
 * them, since it is in no package of Debian's. Blobs come in requests of some megabytes, of which each is a chunk until
 * the last has come; manifests are blobs in one piece; a record holds one digest for each media type of a tag.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { zuulKeys, ZUUL_ROOT } from '../../src/migrate/source.fixture.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { makeImage, makeMultiArch, type Image } from './images.ts';
import { LARGE, type OldRegistry } from './migrate.contract.ts';

/** Its store, as its driver writes there. */
export interface ZuulStore {
  /** `registry: storage:` of its configuration. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  put(key: string, bytes: Uint8Array): Promise<void>;
  /** Makes one object of what came as chunks. */
  gather(key: string, chunks: readonly Buffer[]): Promise<void>;
  /** When it was written by what the store says, in milliseconds. */
  writtenMs(key: string): Promise<number>;
}

const CHUNK_BYTES = 5 * 1024 * 1024;

export async function oldZuulRegistry(dir: string, store: ZuulStore): Promise<OldRegistry> {
  const from = join(dir, 'registry.yaml');
  await writeFile(from, stringify({ registry: { address: '::', port: 5000, secret: 'test', users: [], storage: store.config } }));
  return { from, images: await new Filling(store).fill(), ...(store.env !== undefined && { env: store.env }) };
}

class Filling {
  readonly #store: ZuulStore;
  readonly #written = new Set<Digest>();
  readonly #images: [string, string, Image][] = [];

  constructor(store: ZuulStore) {
    this.#store = store;
  }

  async fill(): Promise<OldRegistry['images']> {
    await this.#push('alpine', 'latest', await makeImage({ marker: 'small' }));
    await this.#push('org/multi', '1', await makeMultiArch('multi'));
    await this.#push('org/untagged', '', await makeImage({ marker: 'untagged' }));
    await this.#push('others/large', '1', await makeImage({ marker: 'large', fillerBytes: LARGE }));
    await this.#pushSeveralTypes();
    await this.#store.put(`${ZUUL_ROOT}uploads/5e1f0c/metadata`, Buffer.from('{"size": 3}'));
    await this.#store.put(`${ZUUL_ROOT}uploads/5e1f0c/1`, Buffer.from('abc'));
    return this.#images;
  }

  /** Clients get an index before anything else, and then the newest; what is older stays under its digest. */
  async #pushSeveralTypes(): Promise<void> {
    const [old, recent, index] = [await makeImage({ marker: 'old' }), await makeImage({ marker: 'recent', format: 'docker' }), await makeMultiArch('several', 'docker')];
    for (const image of [old, index]) await this.#content('org/several', image);
    // Stores tell times to the second.
    const olderMs = Math.max(await this.#store.writtenMs(zuulKeys.blob(old.digest)), await this.#store.writtenMs(zuulKeys.blob(index.digest)));
    do {
      this.#written.delete(recent.digest);
      await this.#content('org/several', recent);
    } while ((await this.#store.writtenMs(zuulKeys.blob(recent.digest))) <= olderMs);
    await this.#record('org/several', 'newest-first', recent, [recent, old]);
    await this.#record('org/several', 'newest-last', recent, [old, recent]);
    await this.#record('org/several', 'an-index', index, [recent, index, old]);
    this.#images.push(['org/several', '', old]);
  }

  async #push(path: string, tag: string, image: Image): Promise<void> {
    await this.#content(path, image);
    await this.#record(path, tag, image, [image]);
  }

  async #record(path: string, tag: string, chosen: Image, all: readonly Image[]): Promise<void> {
    const record = Object.fromEntries(all.map(({ mediaType, digest }) => [mediaType, digest]));
    await this.#store.put(zuulKeys.record(path, tag === '' ? chosen.digest : tag), Buffer.from(JSON.stringify(record)));
    this.#images.push([path, tag, chosen]);
  }

  /** As clients push it: blobs, then what an index names by digest, then the manifest. */
  async #content(path: string, { blobs, children, digest, bytes }: Image): Promise<void> {
    for (const [blob, content] of blobs) if (this.#isNew(blob)) await this.#store.gather(zuulKeys.blob(blob), chunksOf(content));
    for (const child of children) {
      await this.#content(path, child);
      await this.#store.put(zuulKeys.record(path, child.digest), Buffer.from(JSON.stringify({ [child.mediaType]: child.digest })));
    }
    if (this.#isNew(digest)) await this.#store.put(zuulKeys.blob(digest), bytes);
  }

  #isNew(digest: Digest): boolean {
    const known = this.#written.has(digest);
    this.#written.add(digest);
    return !known;
  }
}

function chunksOf(bytes: Buffer): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / CHUNK_BYTES) }, (_, index) => bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES));
}
