/**
 * Calls to Swift: the token, connections, deadlines, retries, and what a status means in the words of the contract. Knows
 * containers and object names, nothing of keys. Every call may be made again when its answer was lost: whoever makes
 * one that may not look the same twice looks at what stands there first (objects.ts).
 */
import type { Agent, Dispatcher } from 'undici';
import type { ObjectStoreAccess, OpenStackSession } from '../../openstack/session.ts';
import { trusting } from '../../tls/trust.ts';
import type { Attempts } from '../object-store/attempts.ts';
import { DriverError, isDriverError, type CallOptions } from '../driver.ts';
import { exchange, headerOf, type Answer, type ResponseBody } from '../exchange.ts';
import { Limiter } from '../limiter.ts';
import { connectionError, refusal, type Refusal } from './errors.ts';

export interface SwiftClientOptions {
  readonly session: OpenStackSession;
  readonly attempts: Attempts;
  readonly container: string;
  /** Who we are to the store, in messages: user and project, never a secret. */
  readonly who: string;
  readonly ca: string | undefined;
  readonly insecure: boolean;
  /** Bounds connecting and waiting for more of a body. */
  readonly stallMs: number;
}

export interface SwiftCall extends CallOptions {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE' | 'POST';
  /** Of the object; undefined: the container, or what `scope` says. */
  readonly name?: string;
  /** Another than the client's. */
  readonly container?: string;
  /** `info`: what the cluster says of itself. */
  readonly scope?: 'account' | 'info';
  /** Without `?`. */
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | readonly Uint8Array[];
  /** Statuses that are answers; any other is an error. */
  readonly expect: readonly number[];
  /** Looks at an expected answer before its body is read; a DriverError that it throws is the attempt's. */
  readonly inspect?: (status: number, header: (name: string) => string | undefined) => void;
  /** The same, after. */
  readonly verify?: (answer: SwiftAnswer) => void;
  /** In messages, as in `put blobs/sha256/…`. */
  readonly what: string;
  /** One attempt's. */
  readonly timeoutMs?: number;
  readonly attempts?: number;
}

/** A whole answer. */
export interface SwiftAnswer {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  readonly body: Buffer;
}

/** An answer whose body is still to come. It holds a connection until it is read, discarded, or `signal` is aborted. */
export interface SwiftStream {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  readonly body: ResponseBody;
}

/** A listing of 10 000 objects with the longest names is about as large. */
const MAX_BODY_BYTES = 32 * 1024 * 1024;
/** Swift's proxy keeps an idle connection for 60 s. */
const KEEP_ALIVE_MS = 30_000;
const TIMEOUT_MS = 30_000;
/** Calls without a large body under way at once. A Swift proxy that is asked a thousand things at a time answers none of them. */
const SMALL_CALLS = 64;
const SMALL_BYTES = 512 * 1024;
/** What a body must move by at least, above the other time that a call takes. */
const SLOWEST_BYTES_PER_MS = 1024;

export class SwiftClient {
  readonly #options: SwiftClientOptions;
  readonly #closing = new AbortController();
  readonly #small = new Limiter(SMALL_CALLS);
  #agent: Promise<Agent> | undefined;
  /** The most that one listing may ask for: Swift's own default, until the cluster says less. */
  maxListed = 10_000;
  /** The store's clock when it was last heard, and our own monotonic one then. */
  #heard: { readonly storeMs: number; readonly atMs: number } | undefined;

  constructor(options: SwiftClientOptions) {
    this.#options = options;
  }

  get container(): string {
    return this.#options.container;
  }

  /** Milliseconds since the epoch by the store's clock, as heard at most `maxAgeMs` ago and counted on; undefined: nothing was heard. */
  storeNowMs(maxAgeMs: number): number | undefined {
    const heard = this.#heard;
    if (heard === undefined) return undefined;
    const ageMs = performance.now() - heard.atMs;
    return ageMs > maxAgeMs ? undefined : heard.storeMs + Math.floor(ageMs);
  }

  async access(options: CallOptions = {}): Promise<ObjectStoreAccess> {
    return await this.#options.session.access(options);
  }

  /** One call and its whole answer. Rejects with DriverError, or with the signal's reason. */
  async call(call: SwiftCall): Promise<SwiftAnswer> {
    return await this.#run(call, async (answer) => {
      const header = (name: string): string | undefined => headerOf(answer.headers, name);
      call.inspect?.(answer.status, header);
      const body = call.method === 'HEAD' ? NOTHING : await answer.body.gather(MAX_BODY_BYTES);
      if (body === undefined) throw new DriverError('permanent', `${call.what}: Swift answered more than ${MAX_BODY_BYTES} bytes`);
      const length = answer.headers['content-length'];
      if (call.method !== 'HEAD' && typeof length === 'string' && Number(length) !== body.length) throw truncated(call.what);
      const whole = { status: answer.status, header, body };
      call.verify?.(whole);
      return whole;
    });
  }

  /** One call; the body comes as it is read, each wait of it bounded. `signal` governs the body too. */
  async stream(call: SwiftCall & { readonly signal: AbortSignal }): Promise<SwiftStream> {
    return await this.#run(call, async (answer) => ({ status: answer.status, header: (name) => headerOf(answer.headers, name), body: answer.body }), true);
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('this store is closed'));
    await (await this.#agent?.catch(() => undefined /* who asked was told */))?.destroy();
  }

  /** A connection that broke while the body was read, in the words of the contract. */
  brokenBody(what: string, error: unknown): DriverError {
    return isDriverError(error) ? error : connectionError(what, this.#options.container, error);
  }

  async #run<T>(call: SwiftCall, take: (answer: Answer) => Promise<T>, streaming = false): Promise<T> {
    const { attempts } = this.#options;
    const { what, signal } = call;
    const timeoutMs = (call.timeoutMs ?? TIMEOUT_MS) + Math.ceil(lengthOf(call.body) / SLOWEST_BYTES_PER_MS);
    signal?.throwIfAborted();
    // Large bodies are bounded by the memory that they take, and must not keep small calls waiting; a turn is waited for within an attempt's time.
    const small = !streaming && lengthOf(call.body) <= SMALL_BYTES;
    const once = async (attempt: AbortSignal): Promise<T> => await this.#attempt(call, take, attempt, streaming);
    return await attempts.run(what, async (attempt) => (small ? await this.#small.run(async () => await once(attempt), attempt) : await once(attempt)), {
      signal, timeoutMs, ...(call.attempts === undefined ? {} : { attempts: call.attempts }),
    });
  }

  async #attempt<T>(call: SwiftCall, take: (answer: Answer) => Promise<T>, attempt: AbortSignal, streaming: boolean): Promise<T> {
    const { session } = this.#options;
    // An attempt's signal says nothing once the attempt is over: the body of a stream goes on under the caller's own.
    const control = new AbortController();
    const links = [attempt, this.#closing.signal, ...(streaming && call.signal !== undefined ? [call.signal] : [])].map((source) => link(source, control));
    let kept = false;
    try {
      for (let turn = 1; ; turn++) {
        const access = await session.access({ signal: control.signal });
        const answer = await this.#send(call, access, control.signal);
        this.#hear(answer);
        if (call.expect.includes(answer.status)) {
          const taken = await take(answer).catch((error: unknown) => {
            answer.body.discard();
            throw error;
          });
          kept = streaming;
          return taken;
        }
        if (answer.status === 401) session.refused(access);
        // A token may end, or be revoked, before its time: once more with another.
        if (answer.status === 401 && turn === 1) answer.body.discard();
        else throw refusal(await this.#refusal(call, answer, access));
      }
    } catch (error) {
      control.signal.throwIfAborted();
      throw isDriverError(error) || !isFromTheWire(error) ? error : connectionError(call.what, this.#options.container, error);
    } finally {
      // Of a body that is still to come its reader's signal alone; closing breaks its connection.
      for (const unlink of kept ? links.slice(0, 2) : links) unlink();
    }
  }

  async #send(call: SwiftCall, access: ObjectStoreAccess, signal: AbortSignal): Promise<Answer> {
    const url = new URL(access.url);
    const container = call.container ?? this.#options.container;
    const below = call.scope === 'account' ? '' : `/${encodeURIComponent(container)}${call.name === undefined ? '' : `/${encodeName(call.name)}`}`;
    const body = call.body === undefined ? {} : { body: call.body as Buffer /* undici takes any iterable of bytes; its type of `dispatch` leaves that out */ };
    const request: Dispatcher.DispatchOptions = {
      origin: url.origin,
      path: call.scope === 'info' ? '/info' : `${url.pathname}${below}${call.query === undefined ? '' : `?${call.query}`}`,
      method: call.method,
      headers: {
        'x-auth-token': access.token,
        ...(call.body === undefined ? {} : { 'content-length': String(lengthOf(call.body)) }),
        ...call.headers,
      },
      // An attempt has a deadline of its own.
      headersTimeout: 0,
      bodyTimeout: this.#options.stallMs,
      ...body,
    };
    return await exchange(await (this.#agent ??= this.#load()), request, signal);
  }

  async #refusal(call: SwiftCall, answer: Answer, access: ObjectStoreAccess): Promise<Refusal> {
    const text = call.method === 'HEAD' ? '' : ((await answer.body.gather(64 * 1024).catch(() => undefined)) ?? NOTHING).toString('utf8');
    const { container, who } = this.#options;
    return { container, ...call, status: answer.status, text, retryAfter: headerOf(answer.headers, 'retry-after'), who, url: access.url };
  }

  #hear(answer: Answer): void {
    const storeMs = Date.parse(headerOf(answer.headers, 'date') ?? '');
    if (Number.isFinite(storeMs)) this.#heard = { storeMs, atMs: performance.now() };
  }

  /** With the first call: 85 ms, 20 MiB. */
  async #load(): Promise<Agent> {
    const { ca, insecure, stallMs } = this.#options;
    const undici = await import('undici');
    return new undici.Agent({
      // Not bounded here: a client that reads slowly holds a connection, and must not keep another waiting for one.
      keepAliveTimeout: KEEP_ALIVE_MS,
      connect: { timeout: stallMs, rejectUnauthorized: !insecure, ...trusting(ca) },
    });
  }
}

const NOTHING = Buffer.alloc(0);

/** As it stands in a URL. */
export function encodeName(name: string): string {
  return name.split('/').map(encodeURIComponent).join('/');
}

export function truncated(what: string): DriverError {
  return new DriverError('retryable', `${what}: Swift's answer was cut short`);
}

/**
 * The rows of an answer in JSON, as Swift's API reference has them: objects, whose fields are for the caller to know.
 * @throws DriverError retryable, where it was cut short or corrupted
 */
export function rowsOf<Row extends object>(body: Buffer, what: string): readonly Row[] {
  let rows: unknown;
  try {
    rows = JSON.parse(body.toString('utf8'));
  } catch {
    throw truncated(what);
  }
  if (!Array.isArray(rows) || !rows.every((row) => typeof row === 'object' && row !== null)) throw truncated(what);
  return rows as Row[];
}

function lengthOf(body: SwiftCall['body']): number {
  if (body === undefined) return 0;
  return body instanceof Uint8Array ? body.length : body.reduce((sum, { length }) => sum + length, 0);
}

/** Passes the abort of `source` on, until unlinked. */
function link(source: AbortSignal, target: AbortController): () => void {
  const onAbort = (): void => target.abort(source.reason);
  if (source.aborted) onAbort();
  source.addEventListener('abort', onAbort, { once: true });
  return () => source.removeEventListener('abort', onAbort);
}

/** undici's and Node's errors have codes. */
function isFromTheWire(error: unknown): boolean {
  return typeof (error as { readonly code?: unknown } | undefined)?.code === 'string';
}
