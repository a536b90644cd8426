/**
 * Reads a Swift container that another registry wrote. Large objects are whatever that registry made of them, dynamic
 * ones (DLO) of Distribution, and read as one; the container is neither made nor written, so the right to read is enough.
 */
import { attempts } from '../drivers/object-store/attempts.ts';
import type { SwiftStorage } from '../config/config.ts';
import { DriverError, type ByteRange, type Source } from '../drivers/driver.ts';
import { SwiftClient, type SwiftStream } from '../drivers/swift/client.ts';
import { listChildren } from '../drivers/swift/listing.ts';
import { statOf } from '../drivers/swift/stat.ts';
import { checkValueSize } from '../drivers/value-size.ts';
import { describeAuth, describeAuthority } from '../openstack/auth.ts';
import { openStackSession } from '../openstack/session.ts';
import type { Timers } from '../workers/timers.ts';
import type { ReadableStore } from './source-store.ts';

export interface ObjectSourceDeps {
  readonly nowMs: () => number;
  readonly timers: Timers;
  /** Never a secret. */
  readonly report: (event: { readonly kind: string; readonly [field: string]: unknown }) => void;
}

/** A connection that gives nothing for so long is broken. */
const STALL_MS = 30_000;
/** So often in a row may a body break before it gave anything. */
const FRUITLESS = 4;

export function swiftSource(storage: SwiftStorage, { nowMs, timers, report }: ObjectSourceDeps): ReadableStore {
  const { auth, region, container, ca, insecure } = storage;
  const retrying = { nowMs, timers, random: Math.random, report };
  const session = openStackSession({
    auth, region, interface: storage.interface, ca, insecure, nowMs, random: Math.random,
    retries: attempts({ ...retrying, store: describeAuthority(auth) }),
    failed: (kind, message, options) => new DriverError(kind, message, options),
  });
  const client = new SwiftClient({ session, attempts: attempts({ ...retrying, store: `Swift, container ${container}` }), container, who: describeAuth(auth), ca, insecure, stallMs: STALL_MS });
  return {
    async head(key, { signal } = {}) {
      const answer = await client.call({ method: 'HEAD', name: key, what: `head ${key}`, expect: [200, 404], signal });
      return answer.status === 404 ? undefined : statOf(answer.header);
    },

    async get(key, { signal, maxBytes } = {}) {
      const answer = await client.call({
        method: 'GET', name: key, what: `get ${key}`, expect: [200, 404], signal,
        inspect: (status, header) => (status === 200 ? checkValueSize(key, Number(header('content-length')), maxBytes) : undefined),
      });
      return answer.status === 404 ? undefined : { ...statOf(answer.header, answer.body.length), bytes: answer.body };
    },

    async open(key, { signal } = {}): Promise<Source | undefined> {
      const answer = await client.call({ method: 'HEAD', name: key, what: `open ${key}`, expect: [200, 404], signal });
      if (answer.status === 404) return undefined;
      const closing = new AbortController();
      return {
        stat: statOf(answer.header),
        stream: (range, options = {}) => read(client, key, range, options.signal === undefined ? closing.signal : AbortSignal.any([closing.signal, options.signal])),
        close: async () => closing.abort(new Error(`the source of ${key} was closed`)),
      };
    },

    children: (level, options = {}) => listChildren(client, level, { root: '', ...options }),

    foreign: async (key, size, { signal } = {}) => ({ store: (await client.access({ signal })).publicUrl, container, name: key, size }),

    async close() {
      await client.close();
      await session.close();
    },
  };
}

/** A body that breaks goes on by Range. Whether it is one object's throughout its digest tells. */
async function* read(client: SwiftClient, key: string, { start, end }: ByteRange, signal: AbortSignal): AsyncGenerator<Buffer> {
  let position = start;
  for (let fruitless = 0; position <= end; ) {
    const before = position;
    const { status, body }: SwiftStream = await client.stream({ method: 'GET', name: key, what: `read ${key}`, signal, expect: [200, 206, 404, 416], headers: { range: `bytes=${position}-${end}` } });
    if (status !== 206) {
      body.discard();
      throw new DriverError('permanent', `${key} was deleted or cut short while it was read: Swift answered ${status}`);
    }
    let failure: unknown = new DriverError('retryable', `${key}: Swift's answer ended at byte ${position} of ${end + 1}`);
    try {
      for await (const chunk of body) {
        position += chunk.length;
        yield chunk;
        signal.throwIfAborted();
      }
    } catch (error) {
      signal.throwIfAborted();
      failure = client.brokenBody(`read ${key}`, error);
    }
    fruitless = position > before ? 0 : fruitless + 1;
    if (fruitless === FRUITLESS) throw failure;
  }
}
