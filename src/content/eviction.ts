/**
 * A store that holds nothing but what can be had again (the view `upstream` on a disk) is kept small: blobs that were used
 * least recently go, with all that is known of them. Nothing here is asked whether anybody needs it; whoever meets a link
 * without bytes, a tag without a manifest, or none of these, asks upstream (`registry/pull-through.ts`).
 */
import type { Driver } from '../drivers/driver.ts';
import { MIN_ROOM_BYTES, roomOf } from '../drivers/bounded/room.ts';
import { Oldest } from '../drivers/oldest.ts';
import { blobOfKey, digestOfData, keys, parseBackReference } from './keys.ts';

export interface Held {
  /** Of everything, in blocks. */
  readonly bytes: number;
  /** Of that: in uploads and fills that run, or were abandoned and not swept yet. */
  readonly gathering: number;
}

/** Manifests and configurations weigh little, and their use is not noted while memory has them: they go a month later. */
const SMALL_BYTES = 64 * 1024;
const SMALL_STAY_MS = 30 * 24 * 3600_000;
const AGEING = /\/_(?:tags|referrers)\//;

export async function heldBytes(driver: Driver): Promise<Held> {
  let [bytes, gathering] = [0, 0];
  // In the order in which bytes move: what moves meanwhile is counted twice, not missed.
  for await (const entry of driver.list(keys.uploads())) gathering += roomOf(entry.size);
  for (const prefix of ['blobs/', 'repos/']) for await (const entry of driver.list(prefix)) bytes += roomOf(entry.size);
  return { bytes: bytes + gathering, gathering };
}

/** Makes blobs go that together take at least `bytes`, and tags that nobody asked for as long. @returns how many blobs went */
export async function evictOldest(driver: Driver, bytes: number): Promise<number> {
  const oldest = new Oldest(bytes);
  for await (const blob of blobsOf(driver)) oldest.add(blob);
  const gone = oldest.sorted();
  let evicted = 0;
  for (const { name: prefix } of gone) {
    if (await evict(driver, prefix)) evicted++;
  }
  const cutoffMs = gone.at(-1)?.usedMs ?? 0;
  const aged: string[] = [];
  for await (const { key, modifiedMs } of driver.list('repos/')) {
    if (modifiedMs >= cutoffMs || !AGEING.test(key)) continue;
    aged.push(key);
    if (aged.length >= AT_ONCE) await driver.delete(aged.splice(0));
  }
  await driver.delete(aged);
  return evicted;
}

const AT_ONCE = 1_000;

async function* blobsOf(driver: Driver): AsyncGenerator<{ readonly name: string; readonly usedMs: number; readonly bytes: number }> {
  let current: { readonly name: string; usedMs: number; dataBytes: number; bytes: number } | undefined;
  const told = ({ name, usedMs, dataBytes, bytes }: NonNullable<typeof current>): { name: string; usedMs: number; bytes: number } => ({ name, bytes, usedMs: dataBytes > SMALL_BYTES ? usedMs : usedMs + SMALL_STAY_MS });
  for await (const entry of driver.list('blobs/')) {
    const { prefix = entry.key } = blobOfKey(entry.key) ?? {};
    if (prefix !== current?.name) {
      if (current !== undefined) yield told(current);
      current = { name: prefix, usedMs: 0, dataBytes: 0, bytes: 0 };
    }
    current.usedMs = Math.max(current.usedMs, entry.modifiedMs);
    current.bytes += roomOf(entry.size);
    if (digestOfData(entry.key) !== undefined) current.dataBytes += entry.size;
    // A link, or the manifest's record.
    else if (recordOf(entry.key) !== undefined) current.bytes += MIN_ROOM_BYTES;
  }
  if (current !== undefined) yield told(current);
}

async function evict(driver: Driver, prefix: string): Promise<boolean> {
  const own: string[] = [];
  const records = new Set<string>();
  for await (const { key } of driver.list(prefix)) {
    own.push(key);
    const record = recordOf(key);
    if (record !== undefined) records.add(record);
  }
  // First what leads there.
  await driver.delete([...records]);
  await driver.delete(own);
  return own.length > 0;
}

/** What stands in a repository for the sake of this back-reference: the link, or the record of the manifest that the blob is. */
function recordOf(key: string): string | undefined {
  const reference = parseBackReference(key);
  if (reference === undefined) return undefined;
  const { digest, repo, who } = reference;
  if (who.startsWith('_')) return keys.link(repo, digest);
  return who.startsWith(`${digest}.`) ? keys.manifest(repo, digest) : undefined;
}
