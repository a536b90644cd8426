/**
 * What the registry needs to know of a manifest: its kind and the descriptors it holds. The bytes are never
 * rewritten (image-spec 1.1 manifest.md and image-index.md; Docker schema 2; the OCI artifact manifest).
 */
import { isDigest, type Digest } from './digest.ts';
import { RegistryError } from './errors.ts';

export const MEDIA_TYPES = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociArtifact: 'application/vnd.oci.artifact.manifest.v1+json',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
} as const;

/** Every type a pull from upstream asks for, most wanted first; the `*`/`*` lets unknown types through. */
export const ACCEPT_MANIFESTS: string = [
  MEDIA_TYPES.ociIndex, MEDIA_TYPES.dockerList, MEDIA_TYPES.ociManifest, MEDIA_TYPES.dockerManifest,
  MEDIA_TYPES.ociArtifact, MEDIA_TYPES.dockerSchema1Signed, '*/*;q=0.1',
].join(', ');

/** A content descriptor (image-spec descriptor.md), the fields that we use. `size` in bytes. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Parsed once at PUT or fill, kept in the record beside the bytes. */
export interface ManifestFacts {
  readonly mediaType: string;
  readonly kind: 'image' | 'index' | 'artifact' | 'opaque';
  /** Blobs that must be readable for the manifest to be: config and layers without `urls` (or artifact blobs). */
  readonly blobs: readonly Descriptor[];
  /** Layers with `urls` (foreign layers): need not be here. */
  readonly foreign: readonly Descriptor[];
  /** Children of an index. */
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor;
  /** For referrers: `artifactType`, else the config's media type (spec, "Listing Referrers"). */
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

const JSON_TYPE = /^[a-zA-Z0-9!#$&^_.+-]{1,127}\/[a-zA-Z0-9!#$&^_.+-]{1,127}$/;
/** Descriptors one manifest may hold: bounds the work that one PUT causes. */
const MAX_DESCRIPTORS = 10_000;

/**
 * Reads a manifest's facts. Types that are not known are `opaque`: stored byte for byte, holding nothing, except
 * that a `subject` and `artifactType` in their JSON still count for referrers.
 * @param contentType the Content-Type header without parameters; '' when the client sent none
 * @throws RegistryError MANIFEST_INVALID, naming the field
 */
export function readManifest(bytes: Uint8Array, contentType: string): ManifestFacts {
  if (contentType !== '' && !JSON_TYPE.test(contentType)) invalid(`content type ${quote(contentType)} is not a media type`);
  const parsed = parseJson(bytes);
  const declared = isObject(parsed) ? parsed['mediaType'] : undefined;
  if (declared !== undefined && typeof declared !== 'string') invalid('mediaType must be a string');
  const mediaType = contentType || declared || guessType(parsed);
  if (mediaType === undefined) invalid('no Content-Type header and no mediaType field: send the manifest with its media type');
  const known = (Object.values(MEDIA_TYPES) as string[]).includes(mediaType);
  if (!known || mediaType === MEDIA_TYPES.dockerSchema1 || mediaType === MEDIA_TYPES.dockerSchema1Signed || mediaType === MEDIA_TYPES.ociEmpty) {
    return { mediaType, kind: 'opaque', blobs: [], foreign: [], manifests: [], ...(isObject(parsed) ? referrerFacts(parsed, undefined, false) : {}) };
  }
  if (!isObject(parsed)) invalid('a manifest must be a JSON object');
  if (declared !== undefined && declared !== mediaType) invalid(`mediaType ${quote(declared)} differs from Content-Type ${quote(mediaType)}`);
  switch (mediaType) {
    case MEDIA_TYPES.ociIndex:
    case MEDIA_TYPES.dockerList: {
      schemaVersion2(parsed);
      const manifests = descriptors(parsed['manifests'], 'manifests', true);
      return { mediaType, kind: 'index', blobs: [], foreign: [], manifests, ...referrerFacts(parsed, undefined, true) };
    }
    case MEDIA_TYPES.ociArtifact: {
      const blobs = descriptors(parsed['blobs'], 'blobs', false);
      return { mediaType, kind: 'artifact', ...splitForeign(blobs), manifests: [], ...referrerFacts(parsed, undefined, true) };
    }
    default: {
      schemaVersion2(parsed);
      if (parsed['config'] === undefined) invalid('config is missing');
      const config = descriptor(parsed['config'], 'config');
      const layers = descriptors(parsed['layers'], 'layers', true);
      const split = splitForeign(layers);
      return { mediaType, kind: 'image', blobs: [config, ...split.blobs], foreign: split.foreign, manifests: [], ...referrerFacts(parsed, config.mediaType, true) };
    }
  }
}

function splitForeign(all: readonly RawDescriptor[]): { blobs: Descriptor[]; foreign: Descriptor[] } {
  return { blobs: all.filter((d) => !d.hasUrls).map(plain), foreign: all.filter((d) => d.hasUrls).map(plain) };
}

function plain({ hasUrls: _, ...d }: RawDescriptor): Descriptor {
  return d;
}

function schemaVersion2(parsed: Json): void {
  if (parsed['schemaVersion'] !== 2) invalid(`schemaVersion must be 2, not ${quote(parsed['schemaVersion'])}`);
}

function referrerFacts(parsed: Json, configType: string | undefined, strict: boolean): Pick<ManifestFacts, 'subject' | 'artifactType' | 'annotations'> {
  const subject = parsed['subject'] === undefined || parsed['subject'] === null ? undefined : attempt(strict, () => plain(descriptor(parsed['subject'], 'subject')));
  const own = parsed['artifactType'];
  if (strict && own !== undefined && typeof own !== 'string') invalid('artifactType must be a string');
  const artifactType = typeof own === 'string' && own !== '' ? own : configType;
  const annotations = stringMap(parsed['annotations'], 'annotations', strict);
  return {
    ...(subject === undefined ? {} : { subject }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function attempt<T>(strict: boolean, f: () => T): T | undefined {
  try {
    return f();
  } catch (error) {
    if (strict) throw error;
    return undefined;
  }
}

type Json = Record<string, unknown>;
interface RawDescriptor extends Descriptor { readonly hasUrls: boolean }

function descriptors(value: unknown, field: string, required: boolean): RawDescriptor[] {
  if (value === undefined || value === null) {
    // An index written by some tools has `"manifests": null` when it is empty; image-spec asks for an array.
    if (required && value === undefined) invalid(`${field} is missing`);
    return [];
  }
  if (!Array.isArray(value)) invalid(`${field} must be an array`);
  if (value.length > MAX_DESCRIPTORS) invalid(`${field} holds ${value.length} descriptors: at most ${MAX_DESCRIPTORS}`);
  return value.map((d, i) => descriptor(d, `${field}[${i}]`));
}

function descriptor(value: unknown, field: string): RawDescriptor {
  if (!isObject(value)) invalid(`${field} must be a descriptor object`);
  const { mediaType, digest, size, artifactType, urls } = value as Partial<Record<'mediaType' | 'digest' | 'size' | 'artifactType' | 'urls', unknown>>;
  if (typeof mediaType !== 'string' || mediaType.length > 255) invalid(`${field}.mediaType must be a string of at most 255 characters`);
  if (typeof digest !== 'string' || !isDigest(digest)) invalid(`${field}.digest ${quote(digest)} is not a sha256 or sha512 digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) invalid(`${field}.size must be a whole number of bytes`);
  stringMap(value['annotations'], `${field}.annotations`, true); // looked at, and left in the bytes
  return {
    mediaType, digest, size,
    ...(typeof artifactType === 'string' && artifactType.length <= 255 ? { artifactType } : {}),
    hasUrls: Array.isArray(urls) && urls.length > 0,
  };
}

function stringMap(value: unknown, field: string, strict: boolean): Record<string, string> | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isObject(value) || Object.values(value).some((v) => typeof v !== 'string')) {
    if (strict) invalid(`${field} must map strings to strings`);
    return undefined;
  }
  return value as Record<string, string>;
}

/** Deeper than any manifest; what JSON.parse does with a million brackets blocks everybody for seconds. */
const MAX_DEPTH = 64;

function isTooDeep(bytes: Uint8Array): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (inString) {
      if (byte === 0x5c /* \\ */) i++;
      else if (byte === 0x22 /* " */) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x5b /* [ */ || byte === 0x7b /* { */) {
      if (++depth > MAX_DEPTH) return true;
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return false;
}

function parseJson(bytes: Uint8Array): unknown {
  if (isTooDeep(bytes)) invalid(`JSON nested more than ${MAX_DEPTH} deep`);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)) as unknown;
  } catch (error) {
    throw new RegistryError('MANIFEST_INVALID', `invalid manifest: not JSON: ${error instanceof Error ? error.message : 'unreadable'}`, { cause: error });
  }
}

function guessType(parsed: unknown): string | undefined {
  if (!isObject(parsed)) return undefined;
  if (Array.isArray(parsed['manifests'])) return MEDIA_TYPES.ociIndex;
  if (isObject(parsed['config'])) return MEDIA_TYPES.ociManifest;
  return undefined;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function quote(value: unknown): string {
  return (JSON.stringify(value) ?? 'undefined').slice(0, 200);
}

function invalid(message: string): never {
  throw new RegistryError('MANIFEST_INVALID', `invalid manifest: ${message}`);
}
