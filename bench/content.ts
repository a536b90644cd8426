/** Bytes to push and pull, the same in every run: generated from a key, never downloaded. */
import { createCipheriv, createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { run } from './process.ts';

export const MIB: number = 1024 * 1024;
export const MANIFEST_TYPE = 'application/vnd.docker.distribution.manifest.v2+json';

export interface BlobFile {
  readonly path: string;
  readonly size: number;
  readonly digest: string;
}

/** Writes `size` bytes that no compression or deduplication shortens; files of other seeds share nothing. */
export async function makeFile(path: string, size: number, seed: string): Promise<BlobFile> {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(Math.min(size, 4 * MIB));
  const file = await open(path, 'w');
  for (let left = size; left > 0; left -= zeros.length) await file.write(cipher.update(zeros.subarray(0, Math.min(left, zeros.length))));
  await file.close();
  return { path, size, digest: await digestOfFile(path) };
}

/** Changes the first bytes, so that no server has seen the content. */
export async function renewFile(file: BlobFile, seed: string): Promise<BlobFile> {
  const handle = await open(file.path, 'r+');
  await handle.write(createHash('sha256').update(seed).digest(), 0, 32, 0);
  await handle.close();
  return { ...file, digest: await digestOfFile(file.path) };
}

/** A file of zeros that takes no room on the disk. */
export async function makeSparseFile(path: string, size: number): Promise<BlobFile> {
  const file = await open(path, 'w');
  await file.truncate(size);
  await file.close();
  return { path, size, digest: await digestOfFile(path) };
}

export async function digestOfFile(path: string): Promise<string> {
  return `sha256:${(await run('sha256sum', [path])).slice(0, 64)}`;
}

export function digestOf(bytes: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** A manifest of one layer that is its own configuration too, so that pushing an image is pushing one blob and this. */
export function manifestOf(blob: { readonly digest: string; readonly size: number }): string {
  const descriptor = (mediaType: string) => ({ mediaType, size: blob.size, digest: blob.digest });
  return JSON.stringify(
    {
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: descriptor('application/vnd.docker.container.image.v1+json'),
      layers: [descriptor('application/vnd.docker.image.rootfs.diff.tar.gzip')],
    },
    null,
    3,
  );
}
