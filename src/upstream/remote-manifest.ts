/** Reads a manifest out of an upstream's answer, and believes nothing in it that can be checked. */
import { algorithmOf, digestOf, isDigest, type Digest } from '../oci/digest.ts';
import { hasCode, RegistryError } from '../oci/errors.ts';
import { readManifest } from '../oci/manifest.ts';
import { headerOf, type Answer, type ResponseHeaders } from '../drivers/exchange.ts';
import type { RemoteManifest, RemoteManifestHead } from './upstream.ts';

/** Types that say nothing: what a static file server gives, say. The manifest's own `mediaType` counts then. */
const VAGUE: ReadonlySet<string> = new Set(['', 'application/json', 'application/octet-stream', 'binary/octet-stream', 'text/plain']);

/** @param what names the manifest and its upstream in messages */
export function readManifestHead({ headers, body }: Answer, what: string): RemoteManifestHead {
  body.discard();
  const mediaType = mediaTypeOf(headers, what);
  return { digest: claimedDigest(headers), mediaType, size: lengthOf(headers) };
}

/** @throws RegistryError UPSTREAM_FAILED where the bytes are too many, no manifest, or not what was promised or asked for */
export async function readRemoteManifest(answer: Answer, reference: string, maxBytes: number, what: string): Promise<RemoteManifest> {
  const declared = mediaTypeOf(answer.headers, what);
  const size = lengthOf(answer.headers);
  const bytes = size === undefined || size <= maxBytes ? await answer.body.gather(maxBytes) : undefined;
  if (bytes === undefined) {
    answer.body.discard();
    throw new RegistryError('UPSTREAM_FAILED', `${what} is larger than ${maxBytes} bytes`);
  }
  const claimed = claimedDigest(answer.headers);
  const asked = isDigest(reference) ? reference : undefined;
  for (const expected of [claimed, asked]) {
    if (expected === undefined) continue;
    const actual = digestOf(bytes, algorithmOf(expected));
    if (actual !== expected) throw new RegistryError('UPSTREAM_FAILED', `${what} came with the digest ${actual}: expected ${expected}`);
  }
  return { digest: asked ?? claimed ?? digestOf(bytes), mediaType: VAGUE.has(declared) ? ownType(bytes, what) : declared, bytes };
}

/** Bytes of the body, where the header says so in the one form it may have. */
export function lengthOf(headers: ResponseHeaders): number | undefined {
  const text = headerOf(headers, 'content-length') ?? '';
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function ownType(bytes: Buffer, what: string): string {
  try {
    return readManifest(bytes, '').mediaType;
  } catch (error) {
    if (!hasCode(error, 'MANIFEST_INVALID')) throw error;
    throw new RegistryError('UPSTREAM_FAILED', `${what} came without a media type: ${error.message}`, { cause: error });
  }
}

function claimedDigest(headers: ResponseHeaders): Digest | undefined {
  const text = headerOf(headers, 'docker-content-digest')?.trim();
  return text !== undefined && isDigest(text) ? text : undefined;
}

/** Login pages, captive portals and misrouted front ends answer 200 with HTML to everything. */
function mediaTypeOf(headers: ResponseHeaders, what: string): string {
  const type = (headerOf(headers, 'content-type') ?? '').split(';', 1)[0]?.trim() ?? '';
  if (/^(?:text\/html|application\/xhtml\+xml)$/i.test(type)) throw new RegistryError('UPSTREAM_FAILED', `${what} is answered with a web page: expected a manifest`);
  return type;
}
