/** Blobs (distribution-spec end-2, end-10): whole, in ranges, or only their size. */
import type { ByteRange } from '../../drivers/driver.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { RegistryError } from '../../oci/errors.ts';
import { sourceHeader, type Answer } from '../../registry/answer.ts';
import type { Registry } from '../../registry/registry.ts';
import type { FillReader } from '../../upstream/fill.ts';
import { matchesNone, type Bodies } from '../interim.ts';
import type { Exchange } from '../exchange.ts';
import type { Target } from '../target.ts';

export async function headBlob(x: Exchange, target: Target, text: string, registry: Registry): Promise<void> {
  const digest = parseDigest(text);
  const found = await registry.resolve.blobSize(target.view, target.name, digest, x);
  if (found === undefined) throw unknownBlob(target, digest);
  const headers = [...describe(x, digest, found.answer), ...VALIDATORS(digest)];
  if (notModified(x, digest)) return x.send(304, headers);
  if (found.size !== undefined) headers.push('Content-Length', String(found.size));
  x.begin(200, headers);
  x.res.end();
}

export async function getBlob(x: Exchange, target: Target, text: string, registry: Registry, bodies: Bodies): Promise<void> {
  const digest = parseDigest(text);
  const found = await registry.resolve.blob(target.view, target.name, digest, x);
  if (found === undefined) throw unknownBlob(target, digest);
  const headers = describe(x, digest, found.answer);
  if (found.kind === 'fill') return await sendFill(x, found.reader, headers, bodies);
  headers.push(...VALIDATORS(digest));
  if (notModified(x, digest)) return x.send(304, headers);
  const { source } = await registry.content.links.open(found.repo, digest, found.link);
  try {
    const range = rangeOf(x, source.stat.size);
    if (range === 'unsatisfiable') return x.send(416, ['Content-Range', `bytes */${source.stat.size}`]);
    if (range === undefined) {
      x.begin(200, [...headers, 'Content-Length', String(source.stat.size)]);
      if (source.stat.size === 0) x.res.end();
      else await bodies.sendSource(x, source, { start: 0, end: source.stat.size - 1 });
    } else {
      x.begin(206, [...headers, 'Content-Range', `bytes ${range.start}-${range.end}/${source.stat.size}`, 'Content-Length', String(range.end - range.start + 1)]);
      await bodies.sendSource(x, source, range);
    }
  } finally {
    await source.close();
  }
}

async function sendFill(x: Exchange, reader: FillReader, headers: string[], bodies: Bodies): Promise<void> {
  try {
    const { size } = reader;
    headers.push('ETag', reader.etag);
    const range = size === undefined ? undefined : rangeOf(x, size);
    if (range === 'unsatisfiable') return x.send(416, ['Content-Range', `bytes */${size}`]);
    if (range !== undefined) x.begin(206, [...headers, 'Content-Range', `bytes ${range.start}-${range.end}/${size}`, 'Content-Length', String(range.end - range.start + 1)]);
    else x.begin(200, size === undefined ? headers : [...headers, 'Content-Length', String(size)]);
    await bodies.sendChunks(x, reader.stream(range, x.signal));
  } finally {
    reader.close();
  }
}

const VALIDATORS = (digest: Digest): string[] => ['ETag', `"${digest}"`, 'Accept-Ranges', 'bytes'];

function notModified(x: Exchange, digest: Digest): boolean {
  const condition = x.header('if-none-match');
  return condition !== undefined && !matchesNone(condition, `"${digest}"`);
}

function rangeOf(x: Exchange, size: number): ByteRange | 'unsatisfiable' | undefined {
  const m = /^bytes=([0-9]*)-([0-9]*)$/.exec(x.header('range') ?? '');
  if (m === null || (m[1] === '' && m[2] === '')) return undefined;
  const start = m[1] === '' ? Math.max(0, size - Number(m[2])) : Number(m[1]);
  const end = m[1] === '' || m[2] === '' ? size - 1 : Math.min(Number(m[2]), size - 1);
  return start >= size || end < start ? 'unsatisfiable' : { start, end };
}

export async function deleteBlob(x: Exchange, { view, name }: Target, text: string, registry: Registry): Promise<void> {
  await registry.delete.blob(view, name, parseDigest(text));
  x.send(202, []);
}

function describe(x: Exchange, digest: Digest, answer: Answer): string[] {
  const source = sourceHeader(answer);
  x.report.source = source;
  return ['Content-Type', 'application/octet-stream', 'Docker-Content-Digest', digest, 'Umbra-Source', source];
}

function unknownBlob({ name, view }: Target, digest: Digest): RegistryError {
  return new RegistryError('BLOB_UNKNOWN', `no blob ${digest} in ${name} in the view ${view.id}, nor where it looks further`, { detail: { name, digest } });
}
