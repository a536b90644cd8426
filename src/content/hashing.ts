/**
 * Hashes that go on over several requests of one upload: on the event loop for small bodies, on a thread of their own
 * for large ones, where hashing takes as long as receiving does.
 */
import { createHash } from 'node:crypto';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Algorithm, Digest } from '../oci/digest.ts';
import type { HashReply, HashRequest } from './hash-thread.ts';
import type { Slab } from './intake.ts';

export interface RunningHash {
  readonly algorithm: Algorithm;
  /** Bytes hashed so far, or handed on to be. */
  readonly length: number;
  /**
   * Adds the first `length` bytes of the slab, after those of earlier calls. Nothing returned: done. A promise: the
   * memory is with another thread until it settles, `slab.bytes` empty. One hash always answers in the same way.
   */
  update(slab: Slab, length: number): undefined | Promise<void>;
  /** Of all so far; the hash may go on. */
  digest(): Promise<Digest>;
}

export interface Hashes {
  start(algorithm: Algorithm): RunningHash;
  /** Ends the thread, if there is one; hashes under way on it fail. */
  close(): Promise<void>;
}

/** A body whose first buffer is this full is large: worth the messages to another thread. */
const LARGE_BYTES = 256 * 1024;

/** @param cores where there is only one, a second thread is no help */
export function hashes(cores: number): Hashes {
  let thread: HashThread | undefined;
  const hashThread = (): HashThread => {
    if (thread === undefined || thread.failed) thread = new HashThread();
    return thread;
  };
  return {
    start: (algorithm) => new LazyHash(algorithm, cores > 1 ? hashThread : undefined),
    async close() {
      await thread?.close();
    },
  };
}

/** Where it runs is known with its first bytes. */
class LazyHash implements RunningHash {
  readonly algorithm: Algorithm;
  readonly #thread: (() => HashThread) | undefined;
  #place: Place | undefined;
  #length = 0;

  constructor(algorithm: Algorithm, thread: (() => HashThread) | undefined) {
    this.algorithm = algorithm;
    this.#thread = thread;
  }

  get length(): number {
    return this.#length;
  }

  update(slab: Slab, length: number): undefined | Promise<void> {
    this.#length += length;
    this.#place ??= length >= LARGE_BYTES && this.#thread !== undefined ? this.#thread().begin(this.algorithm) : hereHash(this.algorithm);
    return this.#place.update(slab, length);
  }

  async digest(): Promise<Digest> {
    this.#place ??= hereHash(this.algorithm);
    return `${this.algorithm}:${await this.#place.digest()}` as Digest; // the form is what an algorithm's hex makes it
  }
}

interface Place {
  update(slab: Slab, length: number): undefined | Promise<void>;
  /** In hexadecimal digits. */
  digest(): Promise<string>;
}

function hereHash(algorithm: Algorithm): Place {
  const hash = createHash(algorithm);
  return {
    update(slab, length) {
      hash.update(slab.bytes.subarray(0, length));
      return undefined;
    },
    digest: async () => hash.copy().digest('hex'),
  };
}

interface Pending {
  readonly resolve: (reply: HashReply) => void;
  readonly reject: (reason: Error) => void;
}

const NOTHING = Buffer.alloc(0);

class HashThread {
  readonly #worker: Worker;
  /** The thread answers in order, so the first one waiting is meant. */
  readonly #pending: Pending[] = [];
  /** An upload may be forgotten at any time, and nobody says so. */
  readonly #forgotten = new FinalizationRegistry<number>((id) => this.#post({ kind: 'end', id }));
  #lastId = 0;
  #failure: Error | undefined;

  constructor() {
    this.#worker = new Worker(new URL(`./hash-thread${extname(import.meta.url)}`, import.meta.url), { name: 'hash' });
    this.#worker.on('message', (reply: HashReply) => this.#pending.shift()?.resolve(reply));
    this.#worker.on('error', (cause: unknown) => this.#fail(new Error('the hashing thread failed', { cause })));
    this.#worker.on('exit', () => this.#fail(new Error('the hashing thread has ended')));
    this.#worker.unref();
  }

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  begin(algorithm: Algorithm): Place {
    const id = ++this.#lastId;
    this.#post({ kind: 'begin', id, algorithm });
    const place: Place = {
      update: async (slab, length) => {
        const { bytes } = slab;
        slab.bytes = NOTHING;
        const buffer = bytes.buffer as ArrayBuffer; // slabs are made of memory that one thread has at a time
        slab.bytes = Buffer.from((await this.#ask({ kind: 'update', id, buffer, length }, [buffer])) as ArrayBuffer); // an update's reply
      },
      digest: async () => (await this.#ask({ kind: 'digest', id })) as string, // a digest's reply
    };
    this.#forgotten.register(place, id);
    return place;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  async #ask(request: HashRequest, transfer: ArrayBuffer[] = []): Promise<HashReply> {
    if (this.#failure !== undefined) throw this.#failure;
    return await new Promise((resolve, reject) => {
      this.#pending.push({ resolve, reject });
      this.#post(request, transfer);
    });
  }

  #post(request: HashRequest, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(request, transfer);
  }

  #fail(failure: Error): void {
    this.#failure ??= failure;
    for (const { reject } of this.#pending.splice(0)) reject(this.#failure);
  }
}
