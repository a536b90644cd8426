/** Blobs (distribution-spec end-2, end-10): whole, in ranges, or only their size. */
import type { Source } from '../../drivers/driver.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { RegistryError } from '../../oci/errors.ts';
import { sourceHeader, type Answer } from '../../registry/answer.ts';
import type { Registry } from '../../registry/registry.ts';
import type { FillReader } from '../../upstream/fill.ts';
import type { Bodies } from '../bodies.ts';
import { evaluateConditions } from '../conditions.ts';
import type { Exchange } from '../exchange.ts';
import { chooseRanges, contentRange, rangeStillValid, unsatisfiedRange, type RangeChoice } from '../ranges.ts';
import type { Redirects } from '../redirect.ts';
import type { Target } from '../target.ts';
import { verified } from '../verified.ts';

export async function headBlob(x: Exchange, target: Target, text: string, registry: Registry): Promise<void> {
  const digest = parseDigest(text);
  const found = await registry.resolve.blobSize(target.view, target.name, digest, x);
  if (found === undefined) throw unknownBlob(target, digest);
  const headers = [...describe(x, digest, found.answer), ...validators(digest)];
  if (preconditionAnswered(x, digest, headers)) return;
  headers.push('Content-Type', OCTETS);
  if (found.size !== undefined) headers.push('Content-Length', String(found.size));
  x.begin(200, headers);
  x.res.end();
}

export async function getBlob(x: Exchange, target: Target, text: string, registry: Registry, bodies: Bodies, redirects: Redirects): Promise<void> {
  const digest = parseDigest(text);
  const found = await registry.resolve.blob(target.view, target.name, digest, x);
  if (found === undefined) throw unknownBlob(target, digest);
  const headers = describe(x, digest, found.answer);
  if (found.kind === 'fill') return await sendFill(x, found.reader, headers, bodies);
  headers.push(...validators(digest));
  if (preconditionAnswered(x, digest, headers)) return;
  const { content } = registry.stores.of(found.repo.view);
  if (found.link.size <= SMALL_BYTES && x.header('range') === undefined) {
    const bytes = await content.blobs.small(digest, found.link);
    if (bytes !== undefined) return x.send(200, [...headers, 'Content-Type', OCTETS], bytes);
  }
  const location = await redirects.of(x, found.repo, digest, found.link);
  // What it leads to ends with its signature: nobody may keep it.
  if (location !== undefined) return x.send(307, [...describe(x, digest, found.answer), 'Location', location, 'Cache-Control', 'no-store']);
  const { source } = await content.links.open(found.repo, digest, found.link);
  try {
    await sendStored(x, source, digest, headers, bodies);
  } finally {
    await source.close();
  }
}

async function sendStored(x: Exchange, source: Source, digest: Digest, headers: string[], bodies: Bodies): Promise<void> {
  const { size } = source.stat;
  const choice = rangesOf(x, size, `"${digest}"`);
  if (choice.kind === 'unsatisfiable') return unsatisfiable(x, size);
  if (choice.kind === 'whole') {
    x.begin(200, [...headers, 'Content-Type', OCTETS, 'Content-Length', String(size)]);
    if (size === 0) x.res.end();
    else await bodies.sendSource(x, verified(source, digest), [{ start: 0, end: size - 1 }]);
    return;
  }
  const [part] = choice.parts;
  if (part !== undefined && choice.parts.length === 1) {
    x.begin(206, [...headers, 'Content-Type', OCTETS, 'Content-Range', contentRange(part, size), 'Content-Length', String(part.end - part.start + 1)]);
    return await bodies.sendSource(x, source, [part]);
  }
  const { contentType, contentLength, sections } = bodies.multipart(choice.parts, size, OCTETS);
  x.begin(206, [...headers, 'Content-Type', contentType, 'Content-Length', String(contentLength)]);
  await bodies.sendSource(x, source, sections);
}

/** A blob on its way from upstream. Its length may be unknown; of several ranges the whole is sent instead. */
async function sendFill(x: Exchange, reader: FillReader, headers: string[], bodies: Bodies): Promise<void> {
  try {
    const { size, etag } = reader;
    headers.push('Content-Type', OCTETS, 'ETag', etag);
    const choice: RangeChoice = size === undefined ? { kind: 'whole' } : rangesOf(x, size, etag);
    if (choice.kind === 'unsatisfiable') return unsatisfiable(x, size ?? 0);
    const part = choice.kind === 'parts' && choice.parts.length === 1 ? choice.parts[0] : undefined;
    const length = part === undefined ? size : part.end - part.start + 1;
    if (length !== undefined) headers.push('Content-Length', String(length));
    if (part === undefined || size === undefined) x.begin(200, headers);
    else x.begin(206, [...headers, 'Content-Range', contentRange(part, size)]);
    await bodies.sendChunks(x, (signal) => reader.stream(part, signal), length);
  } finally {
    reader.close();
  }
}

/** Configurations and other small blobs go out of memory. */
const SMALL_BYTES = 64 * 1024;
const OCTETS = 'application/octet-stream';

const validators = (digest: Digest): string[] => ['ETag', `"${digest}"`, 'Accept-Ranges', 'bytes'];

function rangesOf(x: Exchange, size: number, etag: string): RangeChoice {
  const range = x.header('range');
  return range === undefined || !rangeStillValid(x.header('if-range'), etag) ? { kind: 'whole' } : chooseRanges(range, size);
}

function unsatisfiable(x: Exchange, size: number): never {
  x.also('Content-Range', unsatisfiedRange(size));
  throw new RegistryError('RANGE_INVALID', `the range lies outside of the blob, which has ${size} bytes`, { detail: { size } });
}

/** Answers 304 or 412 where a condition of the request says so. */
function preconditionAnswered(x: Exchange, digest: Digest, headers: readonly string[]): boolean {
  const outcome = evaluateConditions(x.method, x.req.headers, `"${digest}"`);
  if (outcome !== 'proceed') x.send(outcome === 'not-modified' ? 304 : 412, headers);
  return outcome !== 'proceed';
}

export async function deleteBlob(x: Exchange, { view, name }: Target, text: string, registry: Registry): Promise<void> {
  await registry.delete.blob(view, name, parseDigest(text));
  x.send(202, []);
}

function describe(x: Exchange, digest: Digest, answer: Answer): string[] {
  const source = sourceHeader(answer);
  x.report.source = source;
  return ['Docker-Content-Digest', digest, 'Umbra-Source', source];
}

function unknownBlob({ name, view }: Target, digest: Digest): RegistryError {
  return new RegistryError('BLOB_UNKNOWN', `no blob ${digest} in ${name} in the view ${view.id}, nor where it looks further`, { detail: { name, digest } });
}
