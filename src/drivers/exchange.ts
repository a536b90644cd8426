/**
 * One HTTP exchange over an undici dispatcher, as a promise of the answer's head and a body that is pulled.
 * undici's own `request()` gives the body as a Readable, which costs a third more per byte and passes on every
 * 16 KiB TLS record alone; here chunks queue up to a bound, and small ones that wait together leave together.
 */
import type { Dispatcher } from 'undici';

export type ResponseHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface Answer {
  readonly status: number;
  readonly headers: ResponseHeaders;
  readonly body: ResponseBody;
}

/** Must be iterated, gathered or discarded, or the exchange's signal aborted: until then it holds a connection. */
export interface ResponseBody extends AsyncIterable<Buffer> {
  /** The whole body; undefined where it is longer than `maxBytes`. */
  gather(maxBytes: number): Promise<Buffer | undefined>;
  /** Not wanted: a short rest is read, so that the connection can be used again; a long one is cut off. */
  discard(): void;
}

/** Waiting bytes at which the connection is paused, and at which it goes on. */
const HIGH_BYTES = 512 * 1024;
const LOW_BYTES = 256 * 1024;
/** Chunks below this size are worth joining: a copy is cheaper than another trip through the consumer. */
const SMALL_BYTES = 64 * 1024;
const DISCARD_BYTES = 64 * 1024;

/** A repeated header's values in one, as RFC 9110 section 5.3 allows. */
export function headerOf(headers: ResponseHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' || value === undefined ? value : value.join(', ');
}

/**
 * Rejects with the signal's reason, or with undici's error. The signal governs the body too.
 */
export async function exchange(dispatcher: Dispatcher, request: Dispatcher.DispatchOptions, signal: AbortSignal): Promise<Answer> {
  signal.throwIfAborted();
  const inbound = new Inbound(signal);
  // undici gives up the connection after each HEAD otherwise, and every revalidation would pay for a new one.
  dispatcher.dispatch({ ...request, reset: false }, inbound);
  return await inbound.answer;
}

class Inbound implements Dispatcher.DispatchHandler, ResponseBody {
  readonly answer: Promise<Answer>;
  readonly #settle: PromiseWithResolvers<Answer> = Promise.withResolvers();
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => this.#abort(this.#signal.reason as Error /* every signal made here aborts with an Error */);
  #controller: Dispatcher.DispatchController | undefined;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** What is left to read of a body that nobody wants. */
  #discardBytes: number | undefined;
  #ended = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(signal: AbortSignal) {
    this.answer = this.#settle.promise;
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // Given up while it waited for a connection: undici cannot take a request out of its queue before this.
    if (this.#failure !== undefined) controller.abort(this.#failure);
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: ResponseHeaders): void {
    if (status >= 200) this.#settle.resolve({ status, headers, body: this });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#discardBytes !== undefined) {
      this.#discardBytes -= chunk.length;
      if (this.#discardBytes < 0) this.#abort(new Error('the body was not wanted'));
      return;
    }
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes >= HIGH_BYTES) controller.pause();
    this.#wake?.();
  }

  onResponseEnd(): void {
    this.#finish(undefined);
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    this.#finish(error);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    try {
      for (;;) {
        const chunk = this.#take();
        if (chunk !== undefined) yield chunk;
        else if (this.#failure !== undefined) throw this.#failure;
        else if (this.#ended) return;
        else await new Promise<void>((resolve) => { this.#wake = resolve; });
      }
    } finally {
      if (!this.#ended) this.#abort(new Error('the body was not read to its end'));
    }
  }

  async gather(maxBytes: number): Promise<Buffer | undefined> {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of this) {
      size += chunk.length;
      if (size > maxBytes) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks, size);
  }

  discard(): void {
    if (this.#ended) return;
    this.#discardBytes = DISCARD_BYTES - this.#waitingBytes;
    this.#drop();
    if (this.#discardBytes < 0) this.#abort(new Error('the body was not wanted'));
    else this.#controller?.resume();
  }

  #take(): Buffer | undefined {
    const first = this.#waiting[0];
    if (first === undefined) return undefined;
    let chunk = first;
    if (this.#waiting.length > 1 && this.#waitingBytes < this.#waiting.length * SMALL_BYTES) {
      chunk = Buffer.concat(this.#waiting, this.#waitingBytes);
      this.#drop();
    } else {
      this.#waiting.shift();
      this.#waitingBytes -= chunk.length;
    }
    if (this.#waitingBytes < LOW_BYTES && this.#controller?.paused === true) this.#controller.resume();
    return chunk;
  }

  #drop(): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  #abort(reason: Error): void {
    if (this.#ended) return;
    this.#drop();
    this.#finish(reason);
    this.#controller?.abort(reason);
  }

  /** The first outcome counts: an abort is answered by an error of undici's own. */
  #finish(failure: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#signal.removeEventListener('abort', this.#onAbort);
    if (failure !== undefined) this.#settle.reject(failure);
    this.#wake?.();
  }
}
