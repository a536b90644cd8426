/**
 * How segments become an object, and go again. A completion leaves two flags beside the segments before it writes the
 * manifest: `!to` at a name of its own, for point reads, and one for each key, since two finishers of one upload may
 * complete it to two keys that share segments. Whoever removes segments looks for the flags first, then for what stands
 * at their keys; segments that any of those names stay. Giving up and completing are ordered by flags as well: each side
 * writes its own before it reads the other's, so that a completed object never lacks segments.
 */
import { LRUCache } from 'lru-cache';
import { DriverError, type AssemblyState, type CallOptions, type Stat } from '../driver.ts';
import { Limiter } from '../limiter.ts';
import type { SwiftClient } from './client.ts';
import { listObjects } from './listing.ts';
import { namesOfManifest, putManifest, type ManifestEntry } from './manifest.ts';
import { assemblyOf, completionFlag, COMPLETION, DISCARDED, POINTER, segmentsOf } from './names.ts';
import type { SwiftObjects } from './objects.ts';
import { manifestLevels } from './segments.ts';
import type { Gathered } from './state.ts';

export interface CompletionsOptions {
  readonly client: SwiftClient;
  readonly objects: SwiftObjects;
  readonly root: string;
  readonly newId: () => string;
  /** What one manifest takes. */
  readonly maxSegments: number;
}

/** Removals under way at once. */
const REMOVALS = 16;
/** Uploads that this process completed lately: what it is told to discard then is done with. */
const MAX_COMPLETED = 10_000;

export class Completions {
  readonly #options: CompletionsOptions;
  readonly #completed = new LRUCache<string, true>({ max: MAX_COMPLETED });
  /** Keys of plain objects that this process put: nobody need be asked what they are made of. */
  readonly #plain = new LRUCache<string, true>({ max: MAX_COMPLETED });
  readonly #removals = new Limiter(REMOVALS);

  constructor(options: CompletionsOptions) {
    this.#options = options;
  }

  /**
   * A plain object was put at the key. Should another process complete an upload to it, which no caller does, then the
   * sweep takes what a deletion leaves.
   */
  wasPut(key: string): void {
    this.#plain.set(key, true);
  }

  /** @throws DriverError superseded, where the assembly was discarded */
  async complete(state: AssemblyState, { segments, inline }: Gathered, key: string, { signal }: CallOptions): Promise<Stat> {
    const { client, objects, root, newId } = this.#options;
    const { prefix } = state;
    const what = `complete ${prefix} to ${key}`;
    const lead = segmentsOf(root, prefix);
    let stat: Stat;
    this.#plain.delete(key);
    if (segments.length === 0) {
      stat = await objects.put({ name: root + key, bytes: inline, what, signal });
    } else {
      const entries = segments.map(({ name, size, etag }) => ({ name: lead + name, size, etag }));
      const levels = manifestLevels(entries.length, this.#options.maxSegments);
      const count = entries.length + levels.reduce((sum, groups) => sum + groups.length, 0);
      const flag = { bytes: Buffer.from(JSON.stringify({ key })), what, signal };
      await Promise.all([POINTER, `${completionFlag(key)}-${count}`].map((name) => objects.put({ ...flag, name: lead + name })));
      const top = await this.#nest(lead, entries, what, signal);
      const { etag: _, ...written } = await putManifest(client, { name: root + key, entries: top, nonce: newId(), what, signal });
      stat = written;
    }
    if ((await objects.head({ name: lead + DISCARDED, what, signal })) !== undefined) {
      // What another finisher put there since is theirs to answer for.
      if ((await objects.head({ name: root + key, what }))?.stamp === stat.stamp) await objects.delete({ name: root + key, what });
      throw new DriverError('superseded', `${what}: it was discarded`);
    }
    this.#completed.set(prefix, true);
    return stat;
  }

  /** Removes what the assembly left, but for what completed objects are made of. */
  async discard(prefix: string, { signal }: CallOptions): Promise<void> {
    // What other attempts left of a completed upload is for the sweep, which comes when listings have settled.
    if (this.#completed.has(prefix)) return;
    const { objects, root } = this.#options;
    const what = `discard ${prefix}`;
    const lead = segmentsOf(root, prefix);
    await objects.put({ name: lead + DISCARDED, bytes: NOTHING, what, signal });
    const { segments, kept, complete } = await this.#survey(lead, what, signal);
    if (complete) await this.remove([...segments].filter((name) => !kept.has(name)), { signal });
  }

  /**
   * The same for an assembly that is long over, flags included. Returns how many segments it removed.
   * @param beforeMs nobody touched any of it since; else nothing is done
   */
  async clear(prefix: string, beforeMs: number, { signal }: CallOptions): Promise<number> {
    const { root } = this.#options;
    const lead = segmentsOf(root, prefix);
    const { segments, flags, kept, live, newestMs, complete } = await this.#survey(lead, `sweep ${prefix}`, signal);
    if (newestMs > beforeMs || !complete) return 0;
    const orphans = [...segments].filter((name) => !kept.has(name));
    await this.remove(orphans, { signal });
    // Flags last: as long as segments stay, somebody must be able to tell whose they are.
    await this.remove(flags.filter((name) => !live.has(name)), { signal });
    return orphans.length;
  }

  /**
   * Removes an object and what it is made of. Segments first and the manifest last, so that whoever fails midway can
   * begin again; until then the object cannot be read whole.
   */
  async deleteObject(key: string, { signal }: CallOptions): Promise<void> {
    const { client, objects, root } = this.#options;
    const what = `delete ${key}`;
    const names = this.#plain.has(key) ? undefined : await namesOfManifest(client, { name: root + key, what, signal });
    const prefixes = new Set([...(names ?? [])].map((name) => assemblyOf(root, name)).filter((prefix) => prefix !== undefined));
    for (const prefix of prefixes) {
      const lead = segmentsOf(root, prefix);
      const { kept, flags, completions } = await this.#survey(lead, what, signal, key);
      await this.remove([...(names ?? [])].filter((name) => name.startsWith(lead) && !kept.has(name)), { signal });
      const others = completions.some((other) => other !== key);
      await this.remove(flags.filter((name) => (others ? name.startsWith(lead + completionFlag(key)) : name !== lead + DISCARDED)), { signal });
    }
    await objects.delete({ name: root + key, what, signal });
  }

  async remove(names: readonly string[], { signal }: CallOptions): Promise<void> {
    const { objects } = this.#options;
    await Promise.all(names.map((name) => this.#removals.run(async () => await objects.delete({ name, what: `delete ${name}`, signal }))));
  }

  /** Manifests of manifests, until one can have the rest. */
  async #nest(lead: string, entries: readonly ManifestEntry[], what: string, signal: AbortSignal | undefined): Promise<readonly ManifestEntry[]> {
    const { client, newId, maxSegments } = this.#options;
    const attempt = newId();
    let below = entries;
    let made = 0;
    for (const groups of manifestLevels(entries.length, maxSegments)) {
      const above: ManifestEntry[] = [];
      for (const { start, end } of groups) {
        const name = `${lead}${attempt}/m${String(made++).padStart(5, '0')}`;
        const { size, etag } = await putManifest(client, { name, entries: below.slice(start, end), nonce: newId(), what, signal });
        above.push({ name, size, etag });
      }
      below = above;
    }
    return below;
  }

  /** What stands below `lead`, and what of it completed objects are made of; `but` a key that is about to go. */
  async #survey(lead: string, what: string, signal: AbortSignal | undefined, but?: string): Promise<Survey> {
    const { client, objects, root } = this.#options;
    const segments = new Set<string>();
    const flags: string[] = [];
    let newestMs = 0;
    for await (const { name, last_modified: modified } of listObjects(client, { prefix: lead, signal })) {
      newestMs = Math.max(newestMs, Date.parse(`${modified.replace(/Z$/, '')}Z`));
      const rest = name.slice(lead.length);
      // Another assembly's whose prefix continues this one's has more components.
      if (rest.startsWith('!')) flags.push(name);
      else if (SEGMENT.test(rest)) segments.add(name);
    }
    const keys = new Map<string, string>();
    const pointed = await objects.get({ name: lead + POINTER, what, signal });
    const listed = flags.filter((name) => name.startsWith(lead + COMPLETION));
    if (pointed !== undefined) keys.set(keyOf(pointed.bytes), lead + POINTER);
    for (const name of listed) {
      const flag = await objects.get({ name, what, signal });
      if (flag !== undefined) keys.set(keyOf(flag.bytes), name);
    }
    const kept = new Set<string>();
    const live = new Set<string>();
    for (const [key, flag] of keys) {
      if (key === but) continue;
      const names = await namesOfManifest(client, { name: root + key, what, signal });
      // What replaced it is made of other things, or of nothing.
      const ours = [...(names ?? [])].filter((name) => name.startsWith(lead));
      if (ours.length === 0) continue;
      for (const name of ours) kept.add(name);
      live.add(flag).add(lead + POINTER);
    }
    // A listing that misses the flag of a completion may miss another's.
    return { segments, flags, kept, live, newestMs, completions: [...keys.keys()], complete: pointed === undefined || listed.length > 0 };
  }
}

interface Survey {
  readonly segments: ReadonlySet<string>;
  readonly flags: readonly string[];
  readonly kept: ReadonlySet<string>;
  /** Flags of completions whose object stands. */
  readonly live: ReadonlySet<string>;
  readonly newestMs: number;
  readonly completions: readonly string[];
  readonly complete: boolean;
}

const NOTHING = new Uint8Array(0);
const SEGMENT = /^[A-Za-z0-9]{1,32}\/m?[0-9]{5,8}$/;

function keyOf(flag: Buffer): string {
  return (JSON.parse(flag.toString('utf8')) as { readonly key: string }).key; // written by `complete`
}
