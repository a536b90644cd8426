/** Manifests (distribution-spec end-2, end-7, end-9): pulled and pushed by tag or digest. */
import { algorithmOf, digestOf, isDigest, parseAlgorithm, parseDigest, type Digest } from '../../oci/digest.ts';
import { RegistryError } from '../../oci/errors.ts';
import { readManifest } from '../../oci/manifest.ts';
import { isTag, parseTag } from '../../oci/name.ts';
import { sourceHeader } from '../../registry/answer.ts';
import type { Registry } from '../../registry/registry.ts';
import type { ResolvedManifest } from '../../registry/resolve.ts';
import { evaluateConditions } from '../conditions.ts';
import type { Exchange } from '../exchange.ts';
import { readSmallBody } from '../small-body.ts';
import { locationOf, type Target } from '../target.ts';

/** Tags that one PUT may set (the spec asks for at least 10). */
const MAX_TAGS = 100;

export async function getManifest(x: Exchange, target: Target, reference: string, registry: Registry): Promise<void> {
  const found = await resolveReference(x, target, reference, registry);
  if (found === undefined) throw unknownManifest(target, reference);
  const { digest, facts, bytes, answer, warning } = found;
  const source = sourceHeader(answer);
  x.report.source = source;
  const headers = ['Content-Type', facts.mediaType, 'Docker-Content-Digest', digest, 'ETag', `"${digest}"`, 'Umbra-Source', source];
  if (warning !== undefined) headers.push('Warning', warning);
  switch (evaluateConditions(x.method, x.req.headers, `"${digest}"`)) {
    case 'proceed':
      return x.send(200, headers, bytes);
    case 'not-modified':
      return x.send(304, headers);
    case 'failed':
      return x.send(412, headers);
  }
}

async function resolveReference(x: Exchange, { view, name }: Target, reference: string, registry: Registry): Promise<ResolvedManifest | undefined> {
  if (isTag(reference)) return await registry.resolve.tag(view, name, reference, x);
  if (!reference.includes(':')) parseTag(reference);
  return await registry.resolve.manifest(view, name, parseDigest(reference), x);
}

export async function putManifest(x: Exchange, target: Target, reference: string, registry: Registry, maxBytes: number): Promise<void> {
  const { view, name, by } = target;
  registry.push.refuseReadOnly(view);
  const tags = tagsToSet(x, reference);
  if (!isTag(reference)) parseDigest(reference);
  const bytes = await readSmallBody(x, maxBytes, (limit) => new RegistryError('MANIFEST_TOO_LARGE', `a manifest may have at most ${limit} bytes here (limits.manifestBytes)`));
  const digest = digestFor(x, reference, bytes);
  const facts = readManifest(bytes, mediaTypeOf(x.header('content-type')));
  await registry.push.manifest({ view, name, digest, bytes, facts, tags, by }, x);
  const headers = ['Location', locationOf(target, `manifests/${isDigest(reference) ? digest : reference}`), 'Docker-Content-Digest', digest];
  if (isDigest(reference)) for (const tag of tags) headers.push('OCI-Tag', tag);
  if (facts.subject !== undefined) headers.push('OCI-Subject', facts.subject.digest);
  x.send(201, headers);
}

/** Without parameters; '' where the client sent none. */
function mediaTypeOf(contentType: string | undefined): string {
  const mediaType = contentType?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (mediaType === '' && contentType !== undefined) {
    throw new RegistryError('MANIFEST_INVALID', `the Content-Type ${JSON.stringify(contentType.slice(0, 100))} is no media type`);
  }
  return mediaType;
}

/** `PUT manifests/<tag>`, or `PUT manifests/<digest>?tag=a&tag=b` (distribution-spec main). */
function tagsToSet(x: Exchange, reference: string): readonly string[] {
  const extra = x.query.getAll('tag').map(parseTag);
  if (extra.length > MAX_TAGS) throw new RegistryError('PARAMETER_INVALID', `${extra.length} tag parameters: at most ${MAX_TAGS}`);
  return [...new Set(isTag(reference) ? [reference, ...extra] : extra)];
}

function digestFor(x: Exchange, reference: string, bytes: Buffer): Digest {
  if (!isDigest(reference)) {
    const algorithm = x.query.get('digest-algorithm');
    return digestOf(bytes, algorithm === null ? 'sha256' : parseAlgorithm(algorithm));
  }
  const actual = digestOf(bytes, algorithmOf(reference));
  if (actual !== reference) {
    throw new RegistryError('DIGEST_INVALID', `the manifest has digest ${actual}, not ${reference}`, { detail: { expected: reference, actual } });
  }
  return actual;
}

export async function deleteManifest(x: Exchange, { view, name }: Target, reference: string, registry: Registry): Promise<void> {
  if (isTag(reference)) await registry.delete.tag(view, name, reference);
  else {
    if (!reference.includes(':')) parseTag(reference);
    await registry.delete.manifest(view, name, parseDigest(reference));
  }
  x.send(202, []);
}

function unknownManifest({ name, view }: Target, reference: string): RegistryError {
  const what = isDigest(reference) ? `${name}@${reference}` : `${name}:${reference}`;
  return new RegistryError('MANIFEST_UNKNOWN', `no ${what} in the view ${view.id}, nor where it looks further`, { detail: { name, reference } });
}
