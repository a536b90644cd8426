/**
 * Makes small real images without a network: busybox as the root filesystem, so that a runtime can run them, and a
 * marker by which a test tells one image from another. The same arguments give the same digests.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { digestOf, hexOf, type Digest } from '../../src/oci/digest.ts';
import { tar } from './tar.ts';

export interface Image {
  readonly mediaType: string;
  /** The manifest or index, byte for byte. */
  readonly bytes: Buffer;
  readonly digest: Digest;
  /** Config and layers; none for an index. */
  readonly blobs: ReadonlyMap<Digest, Buffer>;
  /** What an index points to. */
  readonly children: readonly Image[];
  /** In an index, where it differs from linux/amd64 or is none. */
  readonly platform: { readonly os: string; readonly architecture: string } | undefined;
}

export interface ImageOptions {
  /** Stands in the file /marker and in the label `marker`. */
  readonly marker: string;
  readonly architecture?: 'amd64' | 'arm64';
  /** Bytes of one more layer that does not compress. */
  readonly fillerBytes?: number;
  readonly format?: keyof typeof FORMATS;
}

const FORMATS = {
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
    index: 'application/vnd.oci.image.index.v1+json',
  },
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  },
} as const;

const APPLETS = ['sh', 'cat', 'echo', 'ls'];

export async function makeImage(options: ImageOptions): Promise<Image> {
  const types = FORMATS[options.format ?? 'oci'];
  const architecture = options.architecture ?? 'amd64';
  const layers = [
    tar([
      { path: 'bin/' },
      { path: 'bin/busybox', bytes: await readFile('/bin/busybox') },
      ...APPLETS.map((applet) => ({ path: `bin/${applet}`, target: 'busybox' })),
      { path: 'etc/' },
      { path: 'etc/passwd', bytes: Buffer.from('root:x:0:0:root:/:/bin/sh\n') },
    ]),
    tar([{ path: 'marker', bytes: Buffer.from(options.marker) }]),
  ];
  if (options.fillerBytes !== undefined) layers.push(tar([{ path: 'filler', bytes: pseudoRandom(options.marker, options.fillerBytes) }]));
  const packed = layers.map((layer) => gzipSync(layer, { level: 1 }));
  const config = Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      config: { Cmd: ['/bin/cat', '/marker'], Env: ['PATH=/bin'], Labels: { marker: options.marker } },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => digestOf(layer)) },
      history: layers.map(() => ({ created_by: 'a test' })),
    }),
  );
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: types.manifest,
      config: { mediaType: types.config, size: config.length, digest: digestOf(config) },
      layers: packed.map((layer) => ({ mediaType: types.layer, size: layer.length, digest: digestOf(layer) })),
    }),
  );
  return {
    mediaType: types.manifest,
    bytes,
    digest: digestOf(bytes),
    blobs: new Map([config, ...packed].map((blob) => [digestOf(blob), blob])),
    children: [],
    platform: { os: 'linux', architecture },
  };
}

/** An index of these images and indexes. */
export function makeIndex(children: readonly Image[], format: keyof typeof FORMATS = 'oci'): Image {
  const mediaType = FORMATS[format].index;
  // Indented, so that a registry or client that writes it anew changes the digest.
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests: children.map(descriptorOf) }, undefined, 3));
  return { mediaType, bytes, digest: digestOf(bytes), blobs: new Map(), children, platform: undefined };
}

/** An index of the same image for amd64 and arm64. */
export async function makeMultiArch(marker: string, format: keyof typeof FORMATS = 'oci'): Promise<Image> {
  const architectures = ['amd64', 'arm64'] as const;
  return makeIndex(await Promise.all(architectures.map((architecture) => makeImage({ marker, architecture, format }))), format);
}

/** Writes an OCI image layout, which skopeo takes as `oci:DIR:TAG`. `dir` is made if absent. */
export async function writeLayout(dir: string, tag: string, image: Image): Promise<void> {
  const blobs = join(dir, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  for (const [digest, bytes] of allContent(image)) await writeFile(join(blobs, hexOf(digest)), bytes);
  await writeFile(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const entry = { ...descriptorOf(image), annotations: { 'org.opencontainers.image.ref.name': tag } };
  await writeFile(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
}

/** An OCI image layout as one archive, which `ctr images import` takes and names `reference`. */
export function ociArchive(image: Image, reference: string): Buffer {
  const entry = {
    ...descriptorOf(image),
    annotations: { 'io.containerd.image.name': reference, 'org.opencontainers.image.ref.name': reference },
  };
  return tar([
    { path: 'oci-layout', bytes: Buffer.from('{"imageLayoutVersion":"1.0.0"}') },
    { path: 'index.json', bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [entry] })) },
    ...allContent(image).map(([digest, bytes]) => ({ path: `blobs/sha256/${hexOf(digest)}`, bytes })),
  ]);
}

/** An image for one platform as `docker load` takes it. */
export function dockerArchive(image: Image, reference: string): Buffer {
  const [config = '', ...layers] = Array.from(image.blobs.keys(), hexOf);
  return tar([
    { path: 'manifest.json', bytes: Buffer.from(JSON.stringify([{ Config: config, RepoTags: [reference], Layers: layers }])) },
    ...Array.from(image.blobs, ([digest, bytes]) => ({ path: hexOf(digest), bytes })),
  ]);
}

/** `length` bytes that follow from the seed and do not compress. */
export function pseudoRandom(seed: string, length: number): Buffer {
  return createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16)).update(Buffer.alloc(length));
}

function descriptorOf({ mediaType, bytes, digest, platform }: Image): object {
  return { mediaType, size: bytes.length, digest, ...(platform && { platform }) };
}

/** Every manifest and blob that belongs to the image, itself included. */
function allContent(image: Image): [Digest, Buffer][] {
  return [[image.digest, image.bytes], ...image.blobs, ...image.children.flatMap(allContent)];
}
