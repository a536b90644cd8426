/**
 * An object that another program wrote becomes segments by Swift's own copying: one for a plain object, one for each
 * piece of a large object, dynamic (DLO) or static (SLO). They are segments like any: under names that nothing was ever
 * written to.
 */
import type { CallOptions, ForeignObject } from '../driver.ts';
import { encodeName, rowsOf, type SwiftClient } from './client.ts';
import { listObjects } from './listing.ts';
import type { ListedSegment } from './manifest.ts';
import { MIN_SEGMENT_BYTES } from './segments.ts';
import { contentType } from './stat.ts';
import { segmentName, type Segment } from '../object-store/segments.ts';

export interface SwiftCopyOptions extends CallOptions {
  readonly client: SwiftClient;
  readonly from: ForeignObject;
  /** Where segments stand; ends in `/`. */
  readonly lead: string;
  /** Never used before. */
  readonly attempt: string;
  readonly newId: () => string;
}

/** Copies under way for one object; Swift's proxy reads and writes each. */
const COPIES = 4;
/** Copying takes Swift as long as writing does. */
const SLOWEST_BYTES_PER_MS = 1024;
const TIMEOUT_MS = 30_000;
/** More pieces than one manifest takes: better sent anew, in larger ones. */
const MAX_PIECES = 1_000;

/** Undefined: it is not where this client is at home, or not of pieces that can be segments. */
export async function copyForeign({ client, from, lead, attempt, newId, signal }: SwiftCopyOptions): Promise<Segment[] | undefined> {
  if ((await client.access({ signal })).publicUrl !== from.store) return undefined;
  const pieces = await piecesOf(client, from, signal);
  if (pieces === undefined) return undefined;
  const segments: Segment[] = [];
  for (let at = 0; at < pieces.length; at += COPIES) {
    const copied = await Promise.all(
      pieces.slice(at, at + COPIES).map(async ({ container, name, size }, offset): Promise<Segment | undefined> => {
        const segment = segmentName(attempt, at + offset);
        const { status, header } = await client.call({
          method: 'PUT', name: lead + segment, what: `copy ${container}/${name}`, signal, expect: [201, 403, 404],
          headers: { 'x-copy-from': `${encodeURIComponent(container)}/${encodeName(name)}`, 'x-fresh-metadata': 'true', 'content-type': contentType(newId()) },
          body: new Uint8Array(0),
          timeoutMs: TIMEOUT_MS + Math.ceil(size / SLOWEST_BYTES_PER_MS),
        });
        const etag = header('etag')?.replaceAll('"', '');
        return status === 201 && etag !== undefined ? { name: segment, size, etag } : undefined;
      }),
    );
    for (const segment of copied) {
      if (segment === undefined) return undefined;
      segments.push(segment);
    }
  }
  return segments;
}

interface Piece {
  readonly container: string;
  readonly name: string;
  readonly size: number;
}

async function piecesOf(client: SwiftClient, from: ForeignObject, signal: AbortSignal | undefined): Promise<readonly Piece[] | undefined> {
  const { container, name, size } = from;
  const { status, header } = await client.call({ method: 'HEAD', container, name, what: `look at ${container}/${name}`, expect: [200, 403, 404], signal });
  if (status !== 200 || size === 0 || Number(header('content-length')) !== size) return undefined;
  const dynamic = header('x-object-manifest');
  const pieces =
    header('x-static-large-object') !== undefined ? await staticPieces(client, from, signal)
    : dynamic !== undefined ? await dynamicPieces(client, dynamic, signal)
    : [{ container, name, size }];
  // More than a manifest takes; a listing that lags, or segments within segments; pieces that Swift would serve slowly.
  if (pieces.length > MAX_PIECES || pieces.reduce((sum, piece) => sum + piece.size, 0) !== size) return undefined;
  return pieces.slice(0, -1).every((piece) => piece.size >= MIN_SEGMENT_BYTES) ? pieces : undefined;
}

/** @param manifest what the object says that it is made of: a container and a prefix there */
async function dynamicPieces(client: SwiftClient, manifest: string, signal: AbortSignal | undefined): Promise<Piece[]> {
  const cut = manifest.indexOf('/');
  const [container, prefix] = [decodeURIComponent(manifest.slice(0, cut)), decodeURIComponent(manifest.slice(cut + 1))];
  const pieces: Piece[] = [];
  for await (const piece of listObjects(client, { container, prefix, signal })) {
    if (piece.bytes > 0) pieces.push({ container, name: piece.name, size: piece.bytes });
    if (pieces.length > MAX_PIECES) break;
  }
  return pieces;
}

/** Only whole objects: what is a part of one, bytes in the manifest itself or a manifest again is left out. */
async function staticPieces(client: SwiftClient, { container, name }: ForeignObject, signal: AbortSignal | undefined): Promise<Piece[]> {
  const what = `look at the manifest of ${container}/${name}`;
  let listed: readonly ListedSegment[] = [];
  await client.call({
    method: 'GET', container, name, query: 'multipart-manifest=get', what, signal, expect: [200, 403, 404],
    verify: ({ status, body }) => {
      if (status === 200) listed = rowsOf<ListedSegment>(body, what);
    },
  });
  return listed.flatMap(({ name: path = '', bytes = 0, range, sub_slo: nested = false }) => {
    const cut = path.indexOf('/', 1);
    return cut < 0 || range !== undefined || nested ? [] : [{ container: path.slice(1, cut), name: path.slice(cut + 1), size: bytes }];
  });
}
