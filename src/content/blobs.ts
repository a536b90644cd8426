/**
 * Blobs: bytes under their digest, by generation, in the order of PROTOCOL ("Reading a blob", "Committing").
 * Knows nothing of who may read them; that is a link in a repository.
 */
import { LRUCache } from 'lru-cache';
import type { Driver, AssemblyState, Source } from '../drivers/driver.ts';
import { RegistryError } from '../oci/errors.ts';
import { algorithmOf, digestOf, type Digest } from '../oci/digest.ts';
import { keys, type Generation, type Repo } from './keys.ts';

/** Bytes that were found, and under which generation. The caller closes the source. */
export interface FoundBlob {
  readonly generation: Generation;
  readonly source: Source;
}

/** A generation of a blob that a commit may rely on, with its size in bytes. */
export interface Stored {
  readonly generation: Generation;
  readonly size: number;
}

export interface Blobs {
  /**
   * Opens the bytes: the generation hinted at, else the current one, else any (one listing; the caller has a link that
   * says there must be one). `undefined` where there are none. Bytes of another size are passed over: a loss of power
   * may have cut short what was never promised to be durable.
   */
  open(digest: Digest, hint: Generation | undefined, size: number): Promise<FoundBlob | undefined>;
  /** A URL that a client may be sent to for the bytes; undefined where the store gives none, or has the bytes elsewhere. */
  location(digest: Digest, stored: Stored): Promise<string | undefined>;
  /** Whole bytes of a small blob (a manifest), found like `open`. */
  read(digest: Digest, hint: Generation | undefined, size: number): Promise<{ readonly generation: Generation; readonly bytes: Buffer } | undefined>;
  /** The generation that a push may share: present, neither doomed nor condemned, and of `size` bytes where that is given. */
  shareable(digest: Digest, size?: number): Promise<Stored | undefined>;
  /** Does the collector mean to remove these bytes? Pushers are then told to upload again. */
  condemned(digest: Digest): Promise<boolean>;
  /** Are there bytes, under whichever generation? */
  readable(digest: Digest, stored: Stored): Promise<boolean>;
  /** Should a pusher be told that these bytes are absent: condemned or doomed? Believed for a second; a commit looks for itself. */
  going(digest: Digest, generation: Generation): boolean | Promise<boolean>;
  /** Whole bytes of a small blob that is linked; kept in memory. `undefined` where there are none. */
  small(digest: Digest, stored: Stored): Buffer | Promise<Buffer | undefined>;
  /**
   * The look that ends every commit: `doomed` of this generation first, then its bytes. False: it cannot be relied on.
   */
  holds(digest: Digest, stored: Stored): Promise<boolean>;
  /**
   * Writes a back-reference: `who` in `repo` needs this blob. Must come before any look at `doomed`.
   * Durable after `sync` of the key it returns.
   */
  reference(digest: Digest, repo: Repo, who: string): Promise<string>;
  /** Makes gathered and verified bytes the generation `generation`, and the current one. Durable after `sync` of the keys it returns. */
  store(digest: Digest, generation: Generation, state: AssemblyState): Promise<string[]>;
  /** The same for small bytes in memory. */
  storeBytes(digest: Digest, generation: Generation, bytes: Uint8Array): Promise<string[]>;
}

/** How long it is believed that nobody means to remove some bytes. */
const FATE_MS = 1_000;
const MAX_FATES = 10_000;

/** @param smallCacheBytes of small blobs kept in memory */
export function blobs(driver: Driver, smallCacheBytes: number): Blobs {
  const fate = new LRUCache<string, boolean>({ max: MAX_FATES, ttl: FATE_MS });
  const smallBytes = new LRUCache<Digest, Buffer>({ maxSize: smallCacheBytes, sizeCalculation: (bytes) => bytes.length + 128 });
  const LATER = { durable: 'later' } as const;

  async function currentOf(digest: Digest): Promise<Generation | undefined> {
    const stored = await driver.get(keys.current(digest));
    return stored === undefined ? undefined : (stored.bytes.toString('utf8') as Generation);
  }

  /** Generations worth trying, best first; the listing is made only when the others had nothing. */
  async function* candidates(digest: Digest, hint: Generation | undefined): AsyncIterable<Generation> {
    if (hint !== undefined) yield hint;
    const current = await currentOf(digest);
    if (current !== undefined && current !== hint) yield current;
    const prefix = keys.generations(digest);
    for await (const { key } of driver.list(prefix)) {
      const generation = key.slice(prefix.length) as Generation;
      if (generation !== hint && generation !== current) yield generation;
    }
  }

  async function read(digest: Digest, hint: Generation | undefined, size: number): Promise<{ generation: Generation; bytes: Buffer } | undefined> {
    for await (const generation of candidates(digest, hint)) {
      const stored = await driver.get(keys.data(digest, generation), { maxBytes: Math.max(size, 1) });
      if (stored?.size === size) return { generation, bytes: stored.bytes };
    }
    return undefined;
  }

  async function open(digest: Digest, hint: Generation | undefined, size: number): Promise<FoundBlob | undefined> {
    for await (const generation of candidates(digest, hint)) {
      const source = await driver.open(keys.data(digest, generation));
      if (source?.stat.size === size) return { generation, source };
      await source?.close();
    }
    return undefined;
  }

  async function lookAhead(key: string, digest: Digest, generation: Generation): Promise<boolean> {
    const going = !(await isAbsent(keys.condemned(digest))) || !(await isAbsent(keys.doomed(digest, generation)));
    fate.set(key, going);
    return going;
  }

  async function readSmall(digest: Digest, { generation, size }: Stored): Promise<Buffer | undefined> {
    const found = await read(digest, generation, size);
    // Hashed before it is kept: what is in memory is given to everybody.
    if (found === undefined || digestOf(found.bytes, algorithmOf(digest)) !== digest) return undefined;
    smallBytes.set(digest, found.bytes);
    return found.bytes;
  }

  async function isAbsent(key: string): Promise<boolean> {
    return driver.stampNow === undefined ? (await driver.head(key)) === undefined : driver.stampNow(key) === '';
  }

  async function makeCurrent(digest: Digest, generation: Generation): Promise<string> {
    // Every writer of new bytes gets here because it found no generation to share, so the newest is the best known.
    const key = keys.current(digest);
    await driver.put(key, Buffer.from(generation), LATER);
    return key;
  }

  return {
    open,

    async location(digest, { generation, size }) {
      if (driver.redirect === undefined) return undefined;
      const key = keys.data(digest, generation);
      // The client would be told that there is nothing, where we find what else there is.
      return (await driver.head(key))?.size === size ? await driver.redirect(key) : undefined;
    },

    read,

    async shareable(digest, size) {
      const generation = await currentOf(digest);
      if (generation === undefined || !(await isAbsent(keys.condemned(digest)))) return undefined;
      if (!(await isAbsent(keys.doomed(digest, generation)))) return undefined;
      const stat = await driver.head(keys.data(digest, generation));
      return stat === undefined || (size !== undefined && stat.size !== size) ? undefined : { generation, size: stat.size };
    },

    async condemned(digest) {
      return !(await isAbsent(keys.condemned(digest)));
    },

    async readable(digest, { generation, size }) {
      const key = keys.data(digest, generation);
      if (driver.isNear?.(key) === true || (await driver.head(key))?.size === size) return true;
      const found = await open(digest, undefined, size);
      await found?.source.close();
      return found !== undefined;
    },

    going(digest, generation) {
      const key = `${digest}/${generation}`;
      return fate.get(key) ?? lookAhead(key, digest, generation);
    },

    small(digest, stored) {
      return smallBytes.get(digest) ?? readSmall(digest, stored);
    },

    async holds(digest, { generation, size }) {
      if ((await driver.head(keys.doomed(digest, generation))) !== undefined) return false;
      return (await driver.head(keys.data(digest, generation)))?.size === size;
    },

    async reference(digest, repo, who) {
      const key = keys.backReference(digest, repo, who);
      await driver.put(key, EMPTY, LATER);
      return key;
    },

    async store(digest, generation, state) {
      const key = keys.data(digest, generation);
      // They are there already where whoever stored them died before telling.
      if ((await driver.head(key))?.size !== state.offset) await driver.assemblies.complete(state, key);
      return [key, await makeCurrent(digest, generation)];
    },

    async storeBytes(digest, generation, bytes) {
      const key = keys.data(digest, generation);
      await driver.put(key, bytes, LATER);
      return [key, await makeCurrent(digest, generation)];
    },
  };
}

const EMPTY = new Uint8Array(0);

/** A link promised bytes that are nowhere: not the client's fault, and not an absence (PROTOCOL: 503, never 404). */
export function bytesMissing(digest: Digest, repo: Repo): RegistryError {
  return new RegistryError('UNAVAILABLE', `the bytes of ${digest} in ${repo.name} could not be found in the store; run fsck, or push the blob again`, {
    detail: { digest, name: repo.name },
  });
}
