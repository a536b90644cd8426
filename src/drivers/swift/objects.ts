/**
 * Single objects of the container by name: small ones written and read whole, and the one claim that Swift can make.
 * Reads here ask every replica for the newest (X-Newest): they are what decisions rest on.
 */
import { createHash } from 'node:crypto';
import { DriverError, type CallOptions, type Claimed, type Stat } from '../driver.ts';
import { CLAIM_MS, SETTLE_MS } from '../settling.ts';
import type { SwiftAnswer, SwiftClient } from './client.ts';
import { contentType, nonceOf, statOf } from './stat.ts';

export interface SwiftObjectsOptions {
  readonly client: SwiftClient;
  /** Random: [A-Za-z0-9_-]. */
  readonly newId: () => string;
}

export interface ObjectPut extends CallOptions {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly what: string;
  readonly absent?: boolean;
}

export interface ObjectRead extends CallOptions {
  readonly name: string;
  readonly what: string;
}

export interface ReadObject {
  readonly stat: Stat;
  readonly bytes: Buffer;
  readonly nonce: string | undefined;
}

const NEWEST = { 'x-newest': 'true' } as const;
/** A claim that is deleted as often while it is made is none. */
const CLAIM_TURNS = 5;

export class SwiftObjects {
  readonly #client: SwiftClient;
  readonly #newId: () => string;

  constructor({ client, newId }: SwiftObjectsOptions) {
    this.#client = client;
    this.#newId = newId;
  }

  async head({ name, what, signal }: ObjectRead): Promise<Stat | undefined> {
    const answer = await this.#client.call({ method: 'HEAD', name, what, headers: NEWEST, expect: [200, 404], signal });
    return answer.status === 404 ? undefined : statOf(answer.header);
  }

  /** @param check of the size, before anything is read */
  async get(read: ObjectRead & { readonly check?: (size: number) => void }): Promise<ReadObject | undefined> {
    // An object server may say 404 of what is being replaced: it lists a directory, then opens what is gone by then.
    return (await this.#get(read)) ?? (await this.#get(read));
  }

  async #get({ name, what, signal, check }: ObjectRead & { readonly check?: (size: number) => void }): Promise<ReadObject | undefined> {
    const answer = await this.#client.call({
      method: 'GET', name, what, headers: NEWEST, expect: [200, 404], signal, verify: verifyWhole(what),
      inspect: (status, header) => {
        if (status === 200) check?.(Number(header('content-length')));
      },
    });
    return answer.status === 404 ? undefined : { stat: statOf(answer.header), bytes: answer.body, nonce: nonceOf(answer.header) };
  }

  /** Durable when it resolves. @throws DriverError exists, where `absent` and something stands there that is not this */
  async put({ name, bytes, what, signal, absent = false }: ObjectPut): Promise<Stat> {
    const nonce = this.#newId();
    const answer = await this.#client.call({
      method: 'PUT', name, what, body: bytes, signal, expect: absent ? [201, 412] : [201],
      headers: { 'content-type': contentType(nonce), etag: md5(bytes), ...(absent ? { 'if-none-match': '*' } : {}) },
    });
    if (answer.status === 201) return statOf(putHeaders(answer, nonce), bytes.length);
    // Our own, where it was written and only the answer was lost.
    const standing = await this.head({ name, what, signal });
    if (standing?.stamp === nonce) return standing;
    throw new DriverError('exists', `${what}: it exists`);
  }

  /** The value that is read decides who claimed it, not what the write was answered: Swift lets several through. */
  async claim({ name, bytes, what, signal }: Omit<ObjectPut, 'absent'>): Promise<Claimed> {
    for (let turn = 1; turn <= CLAIM_TURNS; turn++) {
      const nonce = this.#newId();
      await this.#client.call({
        method: 'PUT', name, what, body: bytes, signal, expect: [201, 412], timeoutMs: CLAIM_MS,
        headers: { 'content-type': contentType(nonce), etag: md5(bytes), 'if-none-match': '*' },
      });
      const read = await this.get({ name, what, signal });
      if (read !== undefined) return { won: read.nonce === nonce, value: read.bytes, settledAtMs: read.stat.modifiedMs + SETTLE_MS };
    }
    throw new DriverError('retryable', `${what}: it was deleted whenever it was claimed`, { answered: true });
  }

  /** A plain object, or an SLO's manifest alone. Absence is no error. */
  async delete({ name, what, signal }: ObjectRead): Promise<void> {
    await this.#client.call({ method: 'DELETE', name, what, expect: [204, 404], signal });
  }
}

export function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('hex');
}

/** Of a whole object: its ETag is its MD5, but for an SLO. */
export function verifyWhole(what: string): (answer: SwiftAnswer) => void {
  return ({ status, header, body }) => {
    if (status !== 200 || header('x-static-large-object') !== undefined) return;
    if (md5(body) !== header('etag')?.replaceAll('"', '')) throw corrupted(what);
  };
}

export function corrupted(what: string): DriverError {
  return new DriverError('retryable', `${what}: Swift's answer was corrupted on the way`, { answered: true });
}

/** The answer to a PUT has no Content-Type of the object. */
function putHeaders({ header }: SwiftAnswer, nonce: string): (name: string) => string | undefined {
  return (name) => (name === 'content-type' ? contentType(nonce) : header(name));
}
