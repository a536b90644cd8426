/**
 * From a request's socket into an intake: counts, waits where the store is slower, frees each chunk at once, and tells a
 * body that arrived whole from one that broke off, where what came is kept for the client to go on from.
 */
import type { IncomingMessage } from 'node:http';
import { Intake, SLABS_PER_BODY } from '../content/intake.ts';
import type { RunningHash } from '../content/running-hash.ts';
import type { Appender } from '../drivers/driver.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Timers } from '../workers/timers.ts';
import type { BufferPool } from './buffers.ts';
import { ClientLeft } from './exchange.ts';

export interface ReceiveOptions {
  readonly pool: BufferPool;
  readonly timers: Timers;
  /** A client that gives no byte for so long is cut off (a quarter later at most). */
  readonly stallMs: number;
  /** How much the body may have. */
  readonly maxBytes: number;
  /** What a Content-Range announced; the Content-Length is looked at in any case. */
  readonly expectedBytes?: number | undefined;
  /** Told of bytes as they arrive. */
  readonly received: (bytes: number) => void;
}

export interface Received {
  /** All of them hashed and given to the appender. */
  readonly bytes: number;
  /** Set where the body did not arrive whole: the client left, was cut off, or sent less than it announced. */
  readonly failure?: ClientLeft | RegistryError;
}

/**
 * Receives the body. Afterwards appender and hash have the same bytes; where it rejects, with RegistryError
 * BLOB_TOO_LARGE or SIZE_INVALID or with what the store failed with, both are spoiled.
 */
export async function receiveBody(
  request: IncomingMessage,
  appender: Appender,
  hash: RunningHash,
  options: ReceiveOptions,
): Promise<Received> {
  const { pool, maxBytes } = options;
  const expectedBytes = expected(request, options.expectedBytes);
  const member = pool.join(SLABS_PER_BODY, () => intake.flush());
  const intake = new Intake({ appender, hash, slabs: member, maxBytes, expectedBytes });
  try {
    const broken = await flow(request, intake, options);
    await intake.finish();
    if (broken !== undefined) return { bytes: intake.bytes, failure: broken };
    if (expectedBytes !== undefined && intake.bytes < expectedBytes) {
      return {
        bytes: intake.bytes,
        failure: new RegistryError('SIZE_INVALID', `the body has ${intake.bytes} bytes: expected ${expectedBytes}, as announced`),
      };
    }
    return { bytes: intake.bytes };
  } catch (error) {
    await intake.finish().catch(() => undefined); // the first failure is the one to tell
    throw error;
  } finally {
    member.leave();
  }
}

/** @throws RegistryError SIZE_INVALID where the two announcements differ */
function expected(request: IncomingMessage, announced: number | undefined): number | undefined {
  const header = request.headers['content-length'];
  if (header === undefined) return announced;
  const length = Number(header);
  if (announced !== undefined && announced !== length) {
    throw new RegistryError('SIZE_INVALID', `Content-Range means ${announced} bytes, but Content-Length is ${length}`);
  }
  return length;
}

/** Resolves at the end of the body, with why it came early if it did. Rejects with what the intake throws. */
async function flow(
  request: IncomingMessage,
  intake: Intake,
  { timers, stallMs, received }: ReceiveOptions,
): Promise<ClientLeft | undefined> {
  const over = Promise.withResolvers<ClientLeft | undefined>();
  /** While the store is slower than the client. */
  let taking: Promise<void> | undefined;
  const onData = (chunk: Buffer): void => {
    received(chunk.length);
    try {
      taking = intake.take(chunk);
    } catch (error) {
      return over.reject(error);
    }
    if (taking === undefined) return free(chunk);
    request.pause();
    taking.then(() => {
      taking = undefined;
      free(chunk);
      request.resume();
    }, over.reject);
  };
  const onEnd = (): void => over.resolve(undefined);
  const onBreak = (cause?: Error): void => over.resolve(new ClientLeft('the client left before its body was whole', { cause }));
  const onStall = (): void => {
    over.resolve(new ClientLeft('the client gave nothing for too long'));
    request.socket.destroy();
  };

  // Events cost less than an async iterator does, which counts at 64 KiB a chunk.
  request.on('data', onData).on('end', onEnd).on('error', onBreak).on('close', onBreak);
  if (request.destroyed) onBreak(request.errored ?? undefined);
  const stopWatching = watchForStall(timers, stallMs, () => (taking === undefined ? intake.bytes : undefined), onStall);
  try {
    const broken = await over.promise;
    await taking;
    return broken;
  } finally {
    stopWatching();
    request.off('data', onData).off('end', onEnd).off('error', onBreak).off('close', onBreak);
    request.on('error', () => undefined); // one that was cut off may say so once more
  }
}

/**
 * Gives a chunk's memory back to the system at once. Chunks are fresh allocations of the HTTP parser: left to the
 * garbage collector they are 100 MiB before it runs, and each new one is cold memory.
 */
function free({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

const LOOKS = 4;

/**
 * Calls `stalled` when `mark` has not changed for `stallMs`, or up to a quarter longer; it costs nothing between looks.
 * @param mark undefined while no progress is expected
 */
function watchForStall(timers: Timers, stallMs: number, mark: () => number | undefined, stalled: () => void): () => void {
  let last = mark();
  let same = 0;
  const look = (): void => {
    const now = mark();
    same = now === undefined || now !== last ? 0 : same + 1;
    last = now;
    if (same >= LOOKS) stalled();
    else cancel = timers.after(stallMs / LOOKS, look);
  };
  let cancel = timers.after(stallMs / LOOKS, look);
  return () => cancel();
}
