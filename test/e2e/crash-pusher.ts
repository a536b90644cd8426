/**
 * A client that pushes one small image after another, in all the ways clients do, until the server is gone; it tells
 * its ledger what it sent and what was answered.
 */
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import type { Blob, Ledger, Upload } from './crash-ledger.ts';
import { pseudoRandom } from './images.ts';
import { expectStatus, type Answer, type CallOptions, type RegistryClient } from './registry-client.ts';

/** What a pusher tells of its progress, as it happens. */
export type Progress =
  | { readonly kind: 'bytes'; readonly count: number }
  | { readonly kind: 'manifest sent' }
  | { readonly kind: 'created' };

export interface PusherOptions {
  readonly client: RegistryClient;
  readonly ledger: Ledger;
  readonly name: string;
  /** Everything it pushes follows from it. */
  readonly seed: string;
  readonly observe: (progress: Progress) => void;
}

const OCTETS = { 'content-type': 'application/octet-stream' };
const SLICE = 16_384;
const MAX_LAYER = 500_000;
/** Every image has it, so that pushers find it pushed by others. */
const SHARED_LAYER = pseudoRandom('shared', 50_000);
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

export async function pushUntilGone(options: PusherOptions): Promise<void> {
  try {
    for (let serial = 0; ; serial += 1) await pushImage(options, serial);
  } catch (error) {
    if (!isConnectionError(error)) throw error;
  }
}

function isConnectionError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^(ECONN|EPIPE|UND_ERR_SOCKET)/.test(String(error.code));
}

/** Rejects where anything is answered but as it should be. */
export async function pushImage(options: PusherOptions, serial: number): Promise<void> {
  const { client, ledger, name, observe } = options;
  const tag = `${options.seed}-${serial}`.replaceAll(' ', '-');
  const layers = [1, 2].map((i) =>
    pseudoRandom(`${tag} layer ${i}`, 100 + (pseudoRandom(`${tag} size ${i}`, 4).readUInt32LE() % MAX_LAYER)),
  );
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] }, tag }));
  const blobs = [SHARED_LAYER, ...layers, config];
  for (const [i, bytes] of blobs.entries()) await pushBlob(options, bytes, WAYS[(serial + i) % WAYS.length] ?? inOneRequest);

  const descriptor = (bytes: Buffer, mediaType: string): object => ({ mediaType, size: bytes.length, digest: digestOf(bytes) });
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: descriptor(config, 'application/vnd.oci.image.config.v1+json'),
      layers: [SHARED_LAYER, ...layers].map((layer) => descriptor(layer, 'application/vnd.oci.image.layer.v1.tar')),
    }),
  );
  const digest = digestOf(bytes);
  const put = async (reference: string): Promise<void> => {
    const sent = client.putManifest(name, reference, { mediaType: MANIFEST_TYPE, bytes });
    observe({ kind: 'manifest sent' });
    expectStatus(await sent, 201);
  };
  const manifest = ledger.addManifest({ name, tag, digest, blobs: blobs.map((blob) => digestOf(blob)), answered: false });
  await put(tag);
  manifest.answered = true;
  observe({ kind: 'created' });

  const latest = ledger.latest(name);
  latest.sent.add(digest);
  await put('latest');
  latest.answered = digest;
  latest.sent.clear();
  observe({ kind: 'created' });
}

async function pushBlob(options: PusherOptions, bytes: Buffer, way: Way): Promise<void> {
  const { client, ledger, name } = options;
  const digest = digestOf(bytes);
  const head = await client.call(`/v2/${name}/blobs/${digest}`, { method: 'HEAD' });
  if (head.status === 200) return;
  const blob = ledger.addBlob({ name, digest, bytes, answered: false });
  expectStatus(await way(options, blob), 201);
  blob.answered = true;
  options.observe({ kind: 'created' });
}

/** Pushes a blob; gives the answer that should be 201. */
type Way = (options: PusherOptions, blob: Blob) => Promise<Answer>;

const inOneRequest: Way = (options, { name, digest, bytes }) => send(options, 'POST', `/v2/${name}/blobs/uploads/?digest=${digest}`, bytes);

const inOnePut: Way = async (options, blob) => {
  const upload = await startUpload(options, blob);
  upload.ending = true;
  return send(options, 'PUT', withDigest(upload.location, blob.digest), blob.bytes);
};

const inOneStream: Way = (options, blob) => inChunks(options, blob, blob.bytes.length);

const inFourChunks: Way = (options, blob) => inChunks(options, blob, Math.ceil(blob.bytes.length / 4));

const WAYS: readonly Way[] = [inOneRequest, inOnePut, inOneStream, inFourChunks];

async function inChunks(options: PusherOptions, blob: Blob, chunkBytes: number): Promise<Answer> {
  const upload = await startUpload(options, blob);
  while (upload.offset < blob.bytes.length) {
    const chunk = blob.bytes.subarray(upload.offset, upload.offset + chunkBytes);
    const headers = { 'content-range': `${upload.offset}-${upload.offset + chunk.length - 1}` };
    const answer = expectStatus(await send(options, 'PATCH', upload.location, chunk, headers), 202);
    upload.offset += chunk.length;
    upload.location = answer.headers['location'] ?? upload.location;
  }
  upload.ending = true;
  return options.client.call(withDigest(upload.location, blob.digest), { method: 'PUT' });
}

async function startUpload({ client, ledger }: PusherOptions, blob: Blob): Promise<Upload> {
  const { headers } = expectStatus(await client.call(`/v2/${blob.name}/blobs/uploads/`, { method: 'POST' }), 202);
  return ledger.addUpload({ blob, location: headers['location'] ?? '', offset: 0, ending: false });
}

function send(
  { client, observe }: PusherOptions,
  method: CallOptions['method'],
  path: string,
  bytes: Buffer,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return client.call(path, {
    ...(method && { method }),
    headers: { ...OCTETS, ...headers, 'content-length': String(bytes.length) },
    body: slices(bytes, observe),
  });
}

async function* slices(bytes: Buffer, observe: PusherOptions['observe']): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += SLICE) {
    const slice = bytes.subarray(at, at + SLICE);
    observe({ kind: 'bytes', count: slice.length });
    yield slice;
  }
}

function withDigest(location: string, digest: Digest): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
}
