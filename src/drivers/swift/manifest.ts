/**
 * Manifests of SLOs: written over segments, and read again to know what an object is made of. Where there are more
 * segments than one manifest takes, manifests of manifests.
 */
import { DriverError, type CallOptions, type Stat } from '../driver.ts';
import { rowsOf, type SwiftAnswer, type SwiftClient } from './client.ts';
import { corrupted, md5 } from './objects.ts';
import { contentType, modifiedOf, nonceOf } from './stat.ts';

/** What a manifest names. */
export interface ManifestEntry {
  /** Of the object, in the container of the manifest. */
  readonly name: string;
  readonly size: number;
  /** Of a manifest: that of the SLO. */
  readonly etag: string;
}

export interface ManifestPut extends CallOptions {
  readonly name: string;
  readonly entries: readonly ManifestEntry[];
  readonly nonce: string;
  readonly what: string;
}

/** Swift looks at each segment before it answers, and says meanwhile that it is at work; proxies between would cut a silence off. */
const HEARTBEAT_ABOVE = 100;
const MS_PER_SEGMENT = 200;

/** Writes it over whatever stands there. @throws DriverError superseded, where segments are gone */
export async function putManifest(client: SwiftClient, { name, entries, nonce, what, signal }: ManifestPut): Promise<Stat & { readonly etag: string }> {
  const body = Buffer.from(JSON.stringify(entries.map((entry) => ({ path: `/${client.container}/${entry.name}`, etag: entry.etag, size_bytes: entry.size }))));
  const heartbeat = entries.length > HEARTBEAT_ABOVE;
  const answer = await client.call({
    method: 'PUT', name, body, what, signal,
    query: heartbeat ? 'multipart-manifest=put&heartbeat=on' : 'multipart-manifest=put',
    headers: { 'content-type': contentType(nonce), accept: 'application/json' },
    timeoutMs: 30_000 + entries.length * MS_PER_SEGMENT,
    expect: heartbeat ? [201, 202, 400] : [201, 400],
    verify: (met) => checkOutcome(met, new Set(entries.map((entry) => `/${client.container}/${entry.name}`)), what),
  });
  const header = headersOf(answer);
  return { size: entries.reduce((sum, { size }) => sum + size, 0), modifiedMs: modifiedOf(header), stamp: nonce, etag: (header('etag') ?? '').replaceAll('"', '') };
}

export interface Manifest {
  readonly nonce: string | undefined;
  readonly entries: readonly (ManifestEntry & { readonly manifest: boolean })[];
}

/** As it stands at a name; undefined: nothing, or no manifest. */
export async function readManifest(client: SwiftClient, { name, what, signal }: CallOptions & { readonly name: string; readonly what: string }): Promise<Manifest | undefined> {
  const head = await client.call({ method: 'HEAD', name, what, signal, headers: { 'x-newest': 'true' }, expect: [200, 404] });
  if (head.status === 404 || head.header('x-static-large-object') === undefined) return undefined;
  let listed: readonly ListedSegment[] = [];
  const answer = await client.call({
    method: 'GET', name, query: 'multipart-manifest=get', what, signal, headers: { 'x-newest': 'true' }, expect: [200, 404],
    verify: ({ status, header, body }) => {
      if (status === 404 || header('x-static-large-object') === undefined) return;
      // Segments are removed by what it says.
      if (md5(body) !== header('etag')?.replaceAll('"', '')) throw corrupted(what);
      listed = rowsOf<ListedSegment>(body, what);
    },
  });
  if (answer.status === 404 || answer.header('x-static-large-object') === undefined) return undefined;
  const lead = `/${client.container}/`;
  const entries = listed
    .filter((entry) => entry.name?.startsWith(lead) === true)
    .map(({ name: path = '', bytes = 0, hash = '', sub_slo: manifest = false }) => ({ name: path.slice(lead.length), size: bytes, etag: hash, manifest }));
  return { nonce: nonceOf(answer.header), entries };
}

/** What Swift takes (`max_manifest_depth` of SLO); deeper is none that it made. */
const MAX_DEPTH = 10;

/**
 * Everything that the manifest is made of, manifests within it included; undefined: nothing stands there, or no manifest.
 * @throws DriverError permanent, where it goes round in circles
 */
export async function namesOfManifest(client: SwiftClient, read: CallOptions & { readonly name: string; readonly what: string }, depth: number = 1): Promise<Set<string> | undefined> {
  if (depth > MAX_DEPTH) throw new DriverError('permanent', `${read.what}: the manifest at ${read.name} lies within more than ${MAX_DEPTH} others`);
  const manifest = await readManifest(client, read);
  if (manifest === undefined) return undefined;
  const names = new Set<string>();
  for (const { name, manifest: nested } of manifest.entries) {
    if (nested) for (const below of (await namesOfManifest(client, { ...read, name }, depth + 1)) ?? []) names.add(below);
    names.add(name);
  }
  return names;
}

/** As Swift lists them when it is asked for a manifest. */
export interface ListedSegment {
  /** `/<container>/<object>`; absent of inline data. */
  readonly name?: string;
  readonly bytes?: number;
  /** Where the manifest has a part of the object only. */
  readonly range?: string;
  readonly hash?: string;
  readonly sub_slo?: boolean;
}

/** What follows the heartbeats, as JSON. */
interface Outcome {
  readonly 'Response Status'?: string;
  readonly 'Response Body'?: string;
  readonly 'Last Modified'?: string;
  readonly Etag?: string;
  readonly Errors?: readonly (readonly [string, string])[];
}

/** @param sent the segments that the manifest names */
function checkOutcome(answer: SwiftAnswer, sent: ReadonlySet<string>, what: string): void {
  if (answer.status === 201) return;
  const outcome = outcomeOf(answer);
  const status = Number(outcome?.['Response Status']?.slice(0, 3) ?? (answer.status === 202 ? 0 : answer.status));
  if (status === 201) return;
  const errors = outcome?.Errors ?? [];
  const first = errors.length === 0 ? '' : `: ${errors[0]?.join(' ')}${errors.length > 1 ? ` and ${errors.length - 1} more` : ''}`;
  const said = `${what}: Swift did not take the manifest: ${outcome?.['Response Status'] ?? answer.status} ${outcome?.['Response Body'] ?? ''}${first}`;
  if (errors.length > 0 && errors.every(([path, why]) => why.startsWith('404') && sent.has(decoded(path)))) throw new DriverError('superseded', said);
  // No outcome, 202 for a write that lost to a newer one, or a segment that could not be looked at just now. Or a manifest
  // that is not the one we sent (400: no JSON, segments that we did not name, other sums): its bytes changed on the way.
  if (status === 0 || status === 202 || status === 400 || status === 408 || status === 409 || status >= 500 || errors.some(([, why]) => /^(401|408|5)/.test(why))) {
    throw new DriverError('retryable', said, { answered: true });
  }
  throw new DriverError('permanent', said);
}

/** As Swift quotes paths. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function outcomeOf({ body }: SwiftAnswer): Outcome | undefined {
  try {
    return JSON.parse(body.toString('utf8').trim()) as Outcome; // Swift's own, as its SLO documentation has it
  } catch {
    return undefined;
  }
}

function headersOf(answer: SwiftAnswer): (name: string) => string | undefined {
  if (answer.status === 201) return answer.header;
  const outcome = outcomeOf(answer);
  return (name) => (name === 'etag' ? outcome?.Etag : name === 'last-modified' ? outcome?.['Last Modified'] : answer.header(name));
}
