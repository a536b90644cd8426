/** Blobs and manifests for the suite to push: bytes with their digest and media type, independent of Umbra's own code. */
import { createHash, randomBytes } from 'node:crypto';

export const TYPES = {
  image: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  artifact: 'application/vnd.oci.artifact.manifest.v1+json',
  dockerImage: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  empty: 'application/vnd.oci.empty.v1+json',
} as const;

/** Something to push. */
export interface Content {
  readonly bytes: Buffer;
  readonly digest: string;
  readonly mediaType: string;
}

export type Algorithm = 'sha256' | 'sha512';
export type Fields = Readonly<Record<string, unknown>>;

export function digestOf(bytes: Uint8Array, algorithm: Algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** A digest that nothing has. */
export function unknownDigest(algorithm: Algorithm = 'sha256'): string {
  return digestOf(randomBytes(32), algorithm);
}

/** Fresh bytes, so that no other test has brought them to the registry before. */
export function blob(size = 512, mediaType: string = TYPES.layer, algorithm: Algorithm = 'sha256'): Content {
  return content(randomBytes(size), mediaType, algorithm);
}

export function content(bytes: Buffer | string, mediaType: string, algorithm: Algorithm = 'sha256'): Content {
  const buffer = Buffer.from(bytes);
  return { bytes: buffer, digest: digestOf(buffer, algorithm), mediaType };
}

export function descriptor(of: Content, more: Fields = {}): Fields {
  return { mediaType: of.mediaType, digest: of.digest, size: of.bytes.length, ...more };
}

/** JSON with odd but legal spacing and an unknown field: whoever parses and prints it again changes its digest. */
export function manifest(fields: Fields, mediaType: string, algorithm: Algorithm = 'sha256'): Content {
  return content(`${JSON.stringify({ ...fields, 'org.example.unknown': { b: 1, a: [1.0, 2e1] } }, null, 3)} \n`, mediaType, algorithm);
}

export function image(config: Content, layers: readonly Content[], more: Fields = {}, mediaType: string = TYPES.image): Content {
  return manifest(
    { schemaVersion: 2, mediaType, config: descriptor(config), layers: layers.map((l) => descriptor(l)), ...more },
    mediaType,
  );
}

export function index(children: readonly Content[], more: Fields = {}, mediaType: string = TYPES.index): Content {
  return manifest({ schemaVersion: 2, mediaType, manifests: children.map((c) => descriptor(c)), ...more }, mediaType);
}
