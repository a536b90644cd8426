/** Pushing and pulling over HTTP in a few words, for tests of what comes of it. */
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';

export interface Pushed {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly layer: { readonly digest: Digest; readonly bytes: Buffer };
}

/** A blob in one request. */
export async function pushBlob(origin: string, name: string, bytes: Buffer): Promise<Digest> {
  const digest = digestOf(bytes);
  const answer = await fetch(`${origin}/v2/${name}/blobs/uploads/?digest=${digest}`, { method: 'POST', body: new Uint8Array(bytes) });
  if (answer.status !== 201) throw new Error(`pushing a blob to ${name}: ${answer.status} ${await answer.text()}`);
  await answer.arrayBuffer();
  return digest;
}

export async function putManifest(origin: string, name: string, reference: string, manifest: unknown, mediaType: string = MEDIA_TYPES.ociManifest): Promise<Response> {
  const body = Buffer.isBuffer(manifest) ? manifest : Buffer.from(JSON.stringify(manifest));
  return await fetch(`${origin}/v2/${name}/manifests/${reference}`, { method: 'PUT', headers: { 'content-type': mediaType }, body: new Uint8Array(body) });
}

/** An image of one layer whose content is `text`. */
export async function pushImage(origin: string, name: string, tag: string, text: string): Promise<Pushed> {
  const layer = Buffer.from(text);
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', text }));
  const manifest = Buffer.from(JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: await pushBlob(origin, name, config), size: config.length },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: await pushBlob(origin, name, layer), size: layer.length }],
  }));
  const answer = await putManifest(origin, name, tag, manifest);
  if (answer.status !== 201) throw new Error(`pushing ${name}:${tag}: ${answer.status} ${await answer.text()}`);
  await answer.arrayBuffer();
  return { digest: digestOf(manifest), bytes: manifest, layer: { digest: digestOf(layer), bytes: layer } };
}

export interface Pulled {
  readonly status: number;
  readonly digest: string | null;
  /** `Umbra-Source`. */
  readonly source: string | null;
  readonly warning: string | null;
  readonly headers: Headers;
  readonly bytes: Buffer;
}

export async function get(origin: string, path: string, init: RequestInit = {}): Promise<Pulled> {
  const answer = await fetch(`${origin}/v2/${path}`, init);
  const { headers } = answer;
  return {
    status: answer.status, digest: headers.get('docker-content-digest'), source: headers.get('umbra-source'), warning: headers.get('warning'),
    headers, bytes: Buffer.from(await answer.arrayBuffer()),
  };
}
