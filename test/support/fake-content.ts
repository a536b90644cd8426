/** Repositories of a fake registry, in memory: real manifests over real bytes, so that digests and sizes are right. */
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { MEDIA_TYPES, readManifest } from '../../src/oci/manifest.ts';

export interface FakeManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export interface FakeImage extends FakeManifest {
  readonly config: { readonly digest: Digest; readonly bytes: Buffer };
  readonly layers: readonly { readonly digest: Digest; readonly bytes: Buffer }[];
}

export interface ImageOptions {
  readonly tag?: string;
  /** Bytes of each layer, or how many to make up. Default: one of 1000 bytes. */
  readonly layers?: readonly (Buffer | number)[];
  readonly architecture?: string;
  /** Makes the image a referrer of this digest. */
  readonly subject?: FakeManifest;
  readonly artifactType?: string;
}

interface Repository {
  readonly blobs: Map<string, Buffer>;
  readonly manifests: Map<string, FakeManifest>;
  /** To digests. */
  readonly tags: Map<string, Digest>;
}

export class FakeContent {
  readonly repositories: Map<string, Repository> = new Map();
  #made = 0;

  /** The repository, made when it is not there. */
  repository(path: string): Repository {
    const found = this.repositories.get(path) ?? { blobs: new Map(), manifests: new Map(), tags: new Map() };
    this.repositories.set(path, found);
    return found;
  }

  addBlob(path: string, bytes: Buffer): Digest {
    const digest = digestOf(bytes);
    this.repository(path).blobs.set(digest, bytes);
    return digest;
  }

  addManifest(path: string, manifest: unknown, mediaType: string, tag?: string): FakeManifest {
    const bytes = Buffer.isBuffer(manifest) ? manifest : Buffer.from(JSON.stringify(manifest));
    const added = { digest: digestOf(bytes), mediaType, bytes };
    const { manifests, tags } = this.repository(path);
    manifests.set(added.digest, added);
    if (tag !== undefined) tags.set(tag, added.digest);
    return added;
  }

  addImage(path: string, { tag, layers = [1000], architecture = 'amd64', subject, artifactType }: ImageOptions = {}): FakeImage {
    const made = ++this.#made; // keeps every image distinct
    const config = Buffer.from(JSON.stringify({ architecture, os: 'linux', made, config: {}, rootfs: { type: 'layers', diff_ids: [] } }));
    const bodies = layers.map((layer, index) => (typeof layer === 'number' ? pattern(layer, made * 31 + index) : layer));
    const manifest = this.addManifest(path, {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      ...(artifactType === undefined ? {} : { artifactType }),
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: this.addBlob(path, config), size: config.length },
      layers: bodies.map((bytes) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: this.addBlob(path, bytes), size: bytes.length })),
      ...(subject === undefined ? {} : { subject: descriptor(subject) }),
    }, MEDIA_TYPES.ociManifest, tag);
    return { ...manifest, config: { digest: digestOf(config), bytes: config }, layers: bodies.map((bytes) => ({ digest: digestOf(bytes), bytes })) };
  }

  addIndex(path: string, children: readonly FakeManifest[], tag?: string): FakeManifest {
    return this.addManifest(path, { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: children.map(descriptor) }, MEDIA_TYPES.ociIndex, tag);
  }

  removeTag(path: string, tag: string): void {
    this.repository(path).tags.delete(tag);
  }

  manifest(path: string, reference: string): FakeManifest | undefined {
    const found = this.repositories.get(path);
    return found?.manifests.get(found.tags.get(reference) ?? reference);
  }

  referrers(path: string, digest: string): readonly unknown[] {
    return [...this.repository(path).manifests.values()].flatMap((manifest) => {
      const { subject, artifactType } = readManifest(manifest.bytes, manifest.mediaType);
      return subject?.digest === digest ? [{ ...descriptor(manifest), artifactType }] : [];
    });
  }
}

function descriptor({ mediaType, digest, bytes }: FakeManifest): object {
  return { mediaType, digest, size: bytes.length };
}

/** Bytes that differ along the body, so that a wrong offset shows. */
export function pattern(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let at = 0; at + 4 <= size; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes;
}
