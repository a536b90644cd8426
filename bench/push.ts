/** Push clients: the requests that skopeo and docker send, timed to the manifest's 201, which is where durability is promised. */
import { readFile } from 'node:fs/promises';
import { Pool } from 'undici';
import { digestOf, manifestOf, MANIFEST_TYPE, type BlobFile } from './content.ts';
import { run } from './process.ts';

export interface Pusher {
  /** POST, one PATCH with the file by curl, PUT, then the manifest. `streamed`: without announcing a length. */
  pushFile(name: string, tag: string, file: BlobFile, how?: { readonly streamed: boolean }): Promise<void>;
  /** The same requests over one connection for a blob that fits a packet. */
  pushSmall(name: string, tag: string, bytes: Buffer): Promise<void>;
  /** Only the manifest of a blob that is there, under one more tag. */
  putManifest(name: string, tag: string, blob: { readonly digest: string; readonly size: number }): Promise<void>;
  close(): Promise<void>;
}

export function openPusher(origin: string, connections = 1): Pusher {
  const pool = new Pool(origin, { connections });

  async function send(
    method: 'POST' | 'PATCH' | 'PUT',
    target: string,
    expected: number,
    body?: string | Uint8Array,
    type?: string,
  ): Promise<string> {
    const { pathname, search } = new URL(target, origin);
    const answer = await pool.request({
      method,
      path: pathname + search,
      body: body ?? null,
      headers: type === undefined ? {} : { 'content-type': type },
    });
    const text = await answer.body.text();
    if (answer.statusCode !== expected) throw new Error(`${method} ${target}: ${answer.statusCode} ${text.slice(0, 500)}`);
    return String(answer.headers['location'] ?? '');
  }
  const begin = (name: string): Promise<string> => send('POST', `/v2/${name}/blobs/uploads/`, 202);
  const close = (location: string, digest: string): Promise<string> =>
    send('PUT', `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`, 201);
  const putManifest: Pusher['putManifest'] = async (name, tag, blob) => {
    await send('PUT', `/v2/${name}/manifests/${tag}`, 201, manifestOf(blob), MANIFEST_TYPE);
  };

  return {
    putManifest,
    async pushFile(name, tag, file, { streamed } = { streamed: true }) {
      const location = await begin(name);
      // curl waits for 100 Continue otherwise, which no registry client does.
      const headers = [
        '-H',
        'Expect:',
        '-H',
        'Content-Type: application/octet-stream',
        ...(streamed ? ['-H', 'Transfer-Encoding: chunked'] : []),
      ];
      const out = await run('curl', [
        '-sS',
        '-X',
        'PATCH',
        '-T',
        file.path,
        ...headers,
        '-o',
        '/dev/null',
        '-w',
        '%{http_code} %header{location}',
        new URL(location, origin).href,
      ]);
      const [code, next] = out.split(' ');
      if (code !== '202' || next === undefined) throw new Error(`PATCH ${location}: ${out}`);
      await close(next, file.digest);
      await putManifest(name, tag, file);
    },
    async pushSmall(name, tag, bytes) {
      const next = await send('PATCH', await begin(name), 202, bytes, 'application/octet-stream');
      const blob = { digest: digestOf(bytes), size: bytes.length };
      await close(next, blob.digest);
      await putManifest(name, tag, blob);
    },
    close: () => pool.close(),
  };
}

/** Pushes a file before anything is timed. */
export async function seed(origin: string, name: string, tag: string, file: BlobFile): Promise<void> {
  const pusher = openPusher(origin);
  if (file.size <= 64 * 1024) await pusher.pushSmall(name, tag, await readFile(file.path));
  else await pusher.pushFile(name, tag, file, { streamed: false });
  await pusher.close();
}
