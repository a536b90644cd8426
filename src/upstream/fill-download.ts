/** One download that survives breaks: what an upstream broke off is resumed where it ended, a bounded number of times. */
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { pause, type Timers } from '../workers/timers.ts';
import type { RemoteBlob } from './upstream.ts';

export interface DownloadOptions {
  readonly digest: Digest;
  readonly open: (start: number, signal: AbortSignal) => Promise<RemoteBlob | undefined>;
  /** From which byte on. */
  readonly start: number;
  /** Already opened at `start`. */
  readonly opened?: RemoteBlob;
  /** Bytes of the whole blob, where known. More or fewer are a mismatch. */
  readonly size: number | undefined;
  readonly signal: AbortSignal;
  readonly timers: Timers;
  readonly resuming: (offset: number, error: unknown) => void;
}

/** Breaks in a row, with little or nothing between them, that end the download. */
const MAX_BREAKS = 5;
/** So much between two breaks begins a new row, and bounds how many there can be. */
const ROW_BYTES = 1024 * 1024;
const FIRST_PAUSE_MS = 100;
/** An upstream that wants to be left alone for longer ends the download. */
const MAX_PAUSE_MS = 5000;

/**
 * The bytes from `start` to the end.
 * @throws RegistryError; a DownloadMismatch where the size differs from what was promised
 */
export async function* download(options: DownloadOptions): AsyncGenerator<Buffer, void, undefined> {
  // An answer whose body nobody reads goes on until its signal says otherwise.
  const over = new AbortController();
  try {
    yield* resumed({ ...options, signal: AbortSignal.any([options.signal, over.signal]) });
  } finally {
    over.abort(new Error('the download is over'));
  }
}

async function* resumed(options: DownloadOptions): AsyncGenerator<Buffer, void, undefined> {
  const { digest, size, signal, timers } = options;
  let { start: position, opened } = options;
  let breaks = 0;
  let rowStart = position;
  for (;;) {
    try {
      const blob = opened ?? (await options.open(position, signal));
      opened = undefined;
      if (blob === undefined) throw new RegistryError('UPSTREAM_FAILED', `upstream no longer has ${digest}`);
      if (blob.size !== undefined && size !== undefined && blob.size !== size) throw new DownloadMismatch(digest);
      for await (const chunk of blob.body) {
        position += chunk.length;
        if (size !== undefined && position > size) throw new DownloadMismatch(digest);
        if (chunk.length > 0) yield chunk;
      }
      if (size === undefined || position === size) return;
      // Where upstream named no size, a short body is all it has.
      if (blob.size === undefined) throw new DownloadMismatch(digest);
      throw new RegistryError('UPSTREAM_FAILED', `upstream ended ${digest} after ${position} of ${size} bytes`);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof DownloadMismatch) throw error;
      if (position - rowStart >= ROW_BYTES) breaks = 0;
      rowStart = position;
      breaks += 1;
      const pauseMs = pauseAfter(breaks, error);
      if (pauseMs === undefined) throw asRegistryError(digest, error);
      options.resuming(position, error);
      await pause(pauseMs, timers, signal);
    }
  }
}

/** What upstream sent is not the blob. */
export class DownloadMismatch extends RegistryError {
  constructor(digest: Digest) {
    super('UPSTREAM_FAILED', `what upstream sent as ${digest} has another digest or size`, { detail: { digest } });
  }
}

export function asRegistryError(digest: Digest, error: unknown): RegistryError {
  if (error instanceof RegistryError) return error;
  return new RegistryError('UPSTREAM_FAILED', `downloading ${digest} from upstream failed: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}

/** How long to wait before resuming; undefined where there is no point. */
function pauseAfter(breaks: number, error: unknown): number | undefined {
  if (breaks > MAX_BREAKS) return undefined;
  const wishMs = error instanceof RegistryError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
  const pauseMs = Math.max(wishMs, FIRST_PAUSE_MS * 2 ** (breaks - 1));
  return pauseMs > MAX_PAUSE_MS ? undefined : pauseMs;
}
