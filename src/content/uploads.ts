/**
 * Upload sessions: bytes of one blob gathered over any number of requests, on any node, then linked into the
 * repository that the session belongs to (PROTOCOL "Upload sessions"; distribution-spec "Pushing blobs").
 */
import { LRUCache } from 'lru-cache';
import { isDriverError, type Appender, type AssemblyState, type CallOptions, type Driver, type ForeignObject } from '../drivers/driver.ts';
import { algorithmOf, digestOf, finishHash, newHash, type Algorithm, type Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Blobs, Stored } from './blobs.ts';
import { runningHash, type RunningHash } from './running-hash.ts';
import { keys, uploadReference, type Generation, type Repo } from './keys.ts';
import type { Links } from './links.ts';
import { touching } from './touching.ts';

/** A session as stored between requests. */
export interface Session {
  readonly id: string;
  readonly view: Repo['view'];
  readonly name: Repo['name'];
  /** What the bytes are hashed with as they arrive. */
  readonly algorithm: Algorithm;
  readonly assembly: AssemblyState;
  /** Of exactly `assembly.offset` bytes; absent where the chunks went through several processes. */
  readonly digest?: Digest;
  /** Written before the bytes become a blob, so that a sweeper knows what it may find half done. */
  readonly finishing?: { readonly digest: Digest; readonly generation: Generation };
}

/** What one request brought. */
export interface Poured {
  /** Set where the body did not arrive whole: what came is kept, then this is thrown. */
  readonly failure?: unknown;
}

export interface Uploads {
  /** Begins a session; nothing is readable before `finish`. */
  create(repo: Repo, algorithm: Algorithm): Promise<Session>;
  /** @throws RegistryError BLOB_UPLOAD_UNKNOWN, also for a session of another name or view */
  find(repo: Repo, id: string): Promise<Session>;
  /**
   * Adds what `pour` gives to the appender, hashed on the way. What arrived before a failure is kept, and the session
   * can go on from there.
   * @throws what `pour` failed with; RegistryError UPLOAD_CONFLICT where another request took the session over
   */
  append(session: Session, pour: (appender: Appender, hash: RunningHash) => Promise<Poured>): Promise<Session>;
  /**
   * Adds an object that the store copies by itself. Nobody has seen its bytes: `finish` reads them back and hashes them.
   * Undefined: the store cannot copy it.
   */
  copy(session: Session, from: ForeignObject, options?: CallOptions): Promise<Session | undefined>;
  /**
   * Ends the session: the blob is stored and linked. A wrong digest leaves the session as it is.
   * @throws RegistryError DIGEST_INVALID
   */
  finish(session: Session, digest: Digest): Promise<Stored>;
  cancel(session: Session): Promise<void>;
  /** Stores bytes that some other session verified in another repository, by reference only. False: they cannot be relied on. */
  mount(repo: Repo, digest: Digest, stored: Stored): Promise<boolean>;
  /** Removes sessions and leftovers of fills that nobody touched since `beforeMs` (store's clock). An aborted signal ends it after the session at hand. */
  sweep(beforeMs: number, signal?: AbortSignal): Promise<{ readonly removed: number; readonly kept: number }>;
  /** The sessions that it would remove, and those that it would keep. */
  count(beforeMs: number): Promise<{ readonly removed: number; readonly kept: number }>;
}

export interface UploadsDeps {
  readonly driver: Driver;
  readonly blobs: Blobs;
  readonly links: Links;
  readonly newId: () => string;
  readonly nowMs: () => number;
  /** Told of a session that could not be swept; the others go on. */
  readonly unswept?: ((id: string, error: unknown) => void) | undefined;
}

/** Hashes kept between the requests of a session, in this process. */
const MAX_RUNNING_HASHES = 1_000;
const ID = /^[a-z0-9]{16,64}$/;
const EMPTY = new Uint8Array(0);

export function uploads(deps: UploadsDeps): Uploads {
  const { driver, blobs, links, newId, nowMs } = deps;
  /** With what they are of: a hash goes on only over the very bytes that it was made of, never over as many of others. */
  const running = new LRUCache<string, { readonly hash: RunningHash; readonly of: string }>({ max: MAX_RUNNING_HASHES });

  async function save(session: Session): Promise<void> {
    await driver.put(keys.uploadState(session.id), Buffer.from(JSON.stringify(session)), { durable: 'later' });
  }

  /** The hash of what the session holds so far, going on where this process left it; else unknown. */
  function hashFor(session: Session): RunningHash | undefined {
    if (session.assembly.offset === 0) return runningHash(session.algorithm);
    const held = running.get(session.id);
    running.delete(session.id);
    return held?.of === identityOf(session.assembly) ? held.hash : undefined;
  }

  async function digestOfSession(session: Session, algorithm: Algorithm): Promise<Digest> {
    if (session.assembly.offset === 0) return digestOf(new Uint8Array(0), algorithm);
    if (session.digest !== undefined && algorithmOf(session.digest) === algorithm) return session.digest;
    const source = await driver.assemblies.open(session.assembly);
    if (source === undefined) throw unknownUpload(session.id);
    try {
      const hash = newHash(algorithm);
      for await (const chunk of source.stream({ start: 0, end: session.assembly.offset - 1 })) hash.update(chunk);
      return finishHash(algorithm, hash);
    } finally {
      await source.close();
    }
  }

  /** A key of its own: the state may be another request's by now. What stays of it goes with the next sweep. */
  function touch(id: string): void {
    void driver.put(keys.uploadTouched(id), EMPTY).catch(() => undefined); // there will be another
  }

  /** @param completed its bytes are a blob's by now; where attempts stand side by side, completing cleared the others away */
  async function drop(session: Session, completed = false): Promise<void> {
    running.delete(session.id);
    if (!completed || driver.assemblies.exclusive) await driver.assemblies.discard(session.assembly);
    await driver.delete([keys.uploadState(session.id)]);
  }

  /** Gives the session's bytes to the store under the generation that bears its id. */
  async function storeOwn(session: Session, digest: Digest): Promise<Stored> {
    const generation = session.id as Generation;
    if (session.assembly.offset === 0) await blobs.storeBytes(digest, generation, new Uint8Array(0));
    else await blobs.store(digest, generation, session.assembly).catch(conflict(session));
    return { generation, size: session.assembly.offset };
  }

  function conflict({ id }: Session): (error: unknown) => never {
    return (error) => {
      if (isDriverError(error, 'superseded')) throw new RegistryError('UPLOAD_CONFLICT', `another request is writing upload ${id}; ask for its status and go on from there`, { cause: error });
      throw error;
    };
  }

  async function lookAt(id: string): Promise<{ readonly newestMs: number; readonly found: readonly string[] }> {
    let newestMs = 0;
    const found: string[] = [];
    for await (const entry of driver.list(`${keys.upload(id)}/`)) {
      newestMs = Math.max(newestMs, entry.modifiedMs);
      found.push(entry.key);
    }
    return { newestMs, found };
  }

  async function sweepOne(id: string, beforeMs: number): Promise<boolean> {
    const { newestMs, found } = await lookAt(id);
    if (newestMs > beforeMs) return false;
    const stored = await driver.get(keys.uploadState(id));
    if (stored !== undefined && stored.modifiedMs > beforeMs) return false; // a listing may be late
    const session = stored === undefined ? undefined : (JSON.parse(stored.bytes.toString('utf8')) as Session /* written by `save` */);
    if (session?.finishing !== undefined) {
      // Its finisher may still be at work, stalled: tell it by `doomed`, which it looks for before its 201, and come back.
      const { digest, generation } = session.finishing;
      if ((await driver.head(keys.data(digest, generation))) !== undefined) {
        // The bytes are a blob's now: the collector's to remove. What other attempts left goes with what no session names.
        await drop(session, true);
        return true;
      }
      const doomed = keys.doomed(digest, generation);
      const mark = await driver.head(doomed);
      if (mark === undefined) await driver.put(doomed, new Uint8Array(0));
      if (mark === undefined || mark.modifiedMs > beforeMs) return false;
    }
    if (session !== undefined) await driver.assemblies.discard(session.assembly);
    await driver.delete(found);
    return true;
  }

  return {
    async create(repo, algorithm) {
      const id = newId();
      const session: Session = { id, view: repo.view, name: repo.name, algorithm, assembly: driver.assemblies.create(keys.upload(id)) };
      await save(session);
      return session;
    },

    async find(repo, id) {
      if (!ID.test(id)) throw unknownUpload(id);
      const stored = await driver.get(keys.uploadState(id));
      if (stored === undefined) throw unknownUpload(id);
      const session = JSON.parse(stored.bytes.toString('utf8')) as Session; // written by `save`
      if (session.view !== repo.view || session.name !== repo.name) throw unknownUpload(id);
      return session;
    },

    async append(session, pour) {
      const hash = hashFor(session) ?? runningHash(session.algorithm);
      const whole = hash.length === session.assembly.offset;
      const appender = await driver.assemblies.append(session.assembly).catch(conflict(session));
      const kept = driver.assemblies.exclusive ? appender : touching(appender, nowMs, () => touch(session.id)); // a file shows its own age
      let poured: Poured;
      try {
        poured = await pour(kept, hash);
      } catch (error) {
        await appender.abandon();
        return conflict(session)(error);
      }
      const assembly = await appender.finish().catch(conflict(session));
      // More bytes: what was found out of those before does not hold any more.
      const { id, view, name, algorithm } = session;
      const next: Session = { id, view, name, algorithm, assembly, ...(whole ? { digest: hash.digest() } : {}) };
      await save(next);
      if (whole) running.set(session.id, { hash, of: identityOf(assembly) });
      if (poured.failure !== undefined) throw poured.failure;
      return next;
    },

    async copy(session, from, options = {}) {
      const assembly = await driver.assemblies.copy?.(session.assembly, from, options).catch(conflict(session));
      if (assembly === undefined) return undefined;
      const { id, view, name, algorithm } = session;
      const next: Session = { id, view, name, algorithm, assembly };
      await save(next);
      return next;
    },

    async finish(session, digest) {
      const repo: Repo = { view: session.view, name: session.name };
      // Whoever began to finish it before, and died, had verified it; its bytes may be the blob's by now.
      const begun = session.finishing?.digest;
      const actual = begun !== undefined && algorithmOf(begun) === algorithmOf(digest) ? begun : await digestOfSession(session, algorithmOf(digest));
      if (actual !== digest) {
        throw new RegistryError('DIGEST_INVALID', `the ${session.assembly.offset} bytes uploaded have digest ${actual}, not ${digest}`, { detail: { expected: digest, actual } });
      }
      // Together: the flags that `shareable` looks at are looked at again below, once the reference stands.
      const [shared] = await Promise.all([
        blobs.shareable(digest, session.assembly.offset),
        blobs.reference(digest, repo, uploadReference(session.id)),
        save({ ...session, finishing: { digest, generation: session.id as Generation } }),
      ]);
      let stored = shared ?? (await storeOwn(session, digest));
      await links.ensure(repo, digest, stored);
      if (shared !== undefined && !(await blobs.holds(digest, stored))) {
        stored = await storeOwn(session, digest);
        await links.ensure(repo, digest, stored);
      }
      if (stored !== shared && !(await blobs.holds(digest, stored))) {
        throw new RegistryError('BLOB_UPLOAD_UNKNOWN', `upload ${session.id} was idle for too long and has been swept; upload the blob again`);
      }
      // Somebody else may have ended this very session meanwhile: what is shared are then its own bytes.
      await drop(session, stored.generation === session.id);
      return stored;
    },

    async cancel(session) {
      await drop(session);
    },

    async mount(repo, digest, stored) {
      await blobs.reference(digest, repo, uploadReference(newId()));
      await links.ensure(repo, digest, stored);
      if (!(await blobs.holds(digest, stored))) return false;
      if (await blobs.condemned(digest)) await driver.delete([keys.condemned(digest)]);
      return true;
    },

    async count(beforeMs) {
      let removed = 0;
      let kept = 0;
      for await (const { name } of driver.children(keys.uploads())) {
        if ((await lookAt(name)).newestMs > beforeMs) kept++;
        else removed++;
      }
      return { removed, kept };
    },

    async sweep(beforeMs, signal) {
      let removed = 0;
      let kept = 0;
      for await (const { name } of driver.children(keys.uploads())) {
        if (signal?.aborted === true) break;
        const swept = await sweepOne(name, beforeMs).catch((error: unknown) => {
          deps.unswept?.(name, error);
          return false;
        });
        if (swept) removed++;
        else kept++;
      }
      // Bytes that no session names any more, as an attempt leaves them that outlives its session.
      const inUse = async (prefix: string): Promise<boolean> => (await driver.head(`${prefix}/state`)) !== undefined;
      const orphans = signal?.aborted === true ? undefined : await driver.assemblies.sweep?.({ beforeMs, inUse, signal });
      return { removed: removed + (orphans?.removed ?? 0), kept };
    },
  };
}

/** Names the attempt that made a state, as every driver's `parts` do. */
function identityOf(assembly: AssemblyState): string {
  return JSON.stringify(assembly);
}

function unknownUpload(id: string): RegistryError {
  return new RegistryError('BLOB_UPLOAD_UNKNOWN', `no upload ${JSON.stringify(id.slice(0, 80))} for this name; begin one with POST …/blobs/uploads/`);
}
