/**
 * What uploads leave behind on S3 when whoever made them died: segments that no session names, multipart uploads that
 * nobody completed, probes. By the store's clock.
 */
import { AbortMultipartUploadCommand, ListMultipartUploadsCommand, type ListMultipartUploadsCommandOutput } from '@aws-sdk/client-s3';
import { LRUCache } from 'lru-cache';
import { isDriverError, type SweepOptions } from '../driver.ts';
import type { S3Calls } from './client.ts';
import { isUploadGone } from './errors.ts';
import { PARTS, PROBES } from './keys.ts';
import { listKeys } from './listing.ts';
import type { S3Objects } from './objects.ts';

/** Sessions about which an answer is kept. */
const MAX_SESSIONS = 1_000;

export interface S3Sweep extends SweepOptions {
  readonly calls: S3Calls;
  readonly objects: S3Objects;
  readonly root: string;
}

/** How many segments and unfinished uploads were removed. */
export async function sweepS3(sweep: S3Sweep): Promise<number> {
  const removed = (await sweepSegments(sweep)) + (await sweepUploads(sweep));
  await sweepProbes(sweep);
  return removed;
}

/** By attempt, in key order: one that nobody touched, of a session that is gone. */
async function sweepSegments({ calls, objects, root, beforeMs, inUse, signal }: S3Sweep): Promise<number> {
  const sessions = new LRUCache<string, boolean>({ max: MAX_SESSIONS });
  let removed = 0;
  let attempt = { folder: '', newestMs: 0, keys: [] as string[] };
  const judge = async (): Promise<void> => {
    const { folder, newestMs, keys } = attempt;
    if (keys.length === 0 || newestMs > beforeMs) return;
    const prefix = prefixOf(`${folder}/`);
    const use = sessions.get(prefix) ?? (await inUse(prefix));
    sessions.set(prefix, use);
    if (use) return;
    await objects.deleteFull(keys, signal);
    removed += keys.length;
  };
  for await (const { key, modifiedMs } of listKeys(calls, root, PARTS, { signal })) {
    const folder = key.slice(0, key.lastIndexOf('/'));
    if (folder !== attempt.folder) {
      await judge();
      attempt = { folder, newestMs: 0, keys: [] };
    }
    attempt.newestMs = Math.max(attempt.newestMs, modifiedMs);
    attempt.keys.push(root + key);
  }
  await judge();
  return removed;
}

async function sweepUploads({ calls, root, beforeMs, inUse, signal }: S3Sweep): Promise<number> {
  let removed = 0;
  let markers: { readonly KeyMarker?: string; readonly UploadIdMarker?: string } | undefined = {};
  while (markers !== undefined) {
    const asked = { Bucket: calls.bucket, Prefix: root, ...markers };
    const page: ListMultipartUploadsCommandOutput = await calls.run('list unfinished uploads', (client, http) => client.send(new ListMultipartUploadsCommand(asked), http), { signal });
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key === undefined || UploadId === undefined || (Initiated?.getTime() ?? Infinity) > beforeMs) continue;
      // One that completes an upload has no session in its key, and takes no longer than a request.
      if (Key.startsWith(root + PARTS) && (await inUse(prefixOf(Key.slice(root.length))))) continue;
      const upload = { Bucket: calls.bucket, Key, UploadId };
      await calls.run(`abort ${Key}`, (client, http) => client.send(new AbortMultipartUploadCommand(upload), http), { signal }).catch(unlessGone);
      removed++;
    }
    markers = nextOf(page);
  }
  return removed;
}

/** Of `!parts/<assembly prefix>/<attempt>/<n>`. */
function prefixOf(key: string): string {
  return key.slice(PARTS.length).split('/').slice(0, -2).join('/');
}

function nextOf({ IsTruncated, NextKeyMarker = '', NextUploadIdMarker = '' }: ListMultipartUploadsCommandOutput): { readonly KeyMarker: string; readonly UploadIdMarker: string } | undefined {
  return IsTruncated === true && NextKeyMarker !== '' ? { KeyMarker: NextKeyMarker, UploadIdMarker: NextUploadIdMarker } : undefined;
}

async function sweepProbes({ calls, objects, root, beforeMs, signal }: S3Sweep): Promise<void> {
  const keys: string[] = [];
  for await (const { key, modifiedMs } of listKeys(calls, root, PROBES, { signal })) if (modifiedMs <= beforeMs) keys.push(root + key);
  await objects.deleteFull(keys, signal);
}

function unlessGone(error: unknown): void {
  if (!(isDriverError(error) && isUploadGone(error.cause))) throw error;
}
