/**
 * Past a full store: a reader takes what came before the store was full, and downloads the rest for itself. Whoever
 * gets the blob's last byte has the whole hashed first, which means just those bytes that it was given.
 */
import type { Hash } from 'node:crypto';
import { algorithmOf, finishHash, newHash } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Timers } from '../workers/timers.ts';
import type { Rest, Unstored } from './fill-bytes.ts';
import { download, DownloadMismatch } from './fill-download.ts';
import type { FillEvent } from './fill-event.ts';
import type { FillJob } from './fill.ts';
import type { Attempt } from './growing.ts';

export interface PastOptions extends Rest {
  readonly attempt: Attempt;
  readonly status: Unstored;
  readonly job: FillJob;
  readonly signal: AbortSignal;
  readonly timers: Timers;
  readonly observe: (event: FillEvent) => void;
}

/** @throws RegistryError */
export async function* pastBytes(options: PastOptions): AsyncGenerator<Buffer, void, undefined> {
  const { attempt, start, signal } = options;
  const { size } = attempt;
  const end = options.end ?? Infinity;
  const base = await baseOf(options);
  if (base.verified) return yield* heldBytes(attempt, start, Math.min(end, base.held), signal);
  if (size === undefined || end >= size) return yield* verifiedBytes(options, base);
  yield* heldBytes(attempt, start, Math.min(end, base.held), signal);
  let position = Math.max(start, base.held);
  if (position >= end) return;
  for await (const chunk of downloadFrom(options, position)) {
    yield chunk.subarray(0, end - position);
    position += chunk.length;
    if (position >= end) return;
  }
}

/** What the attempt can still give. */
interface Base {
  /** So many bytes. */
  readonly held: number;
  readonly hash: Hash | undefined;
  readonly verified: boolean;
}

async function baseOf({ attempt, status, job, start, given }: PastOptions): Promise<Base> {
  const { memory, landed } = attempt;
  const base: Base = { held: memory?.head ?? landed, hash: status.hash, verified: status.verified };
  // A store that shows whole pieces only may have taken bytes which are neither there to read nor in memory any more.
  const hasGap = memory !== undefined && memory.from > landed && start < memory.from;
  const reads = landed > 0 && (start < landed || (status.hash === undefined && !status.verified));
  if (!hasGap && (!reads || (await attempt.source.opened.catch(() => undefined)) !== undefined)) return base;
  // What was given cannot be hashed again, and other bytes in its stead would prove nothing of it.
  if (given) throw new RegistryError('UNAVAILABLE', `the store lost what it had of ${job.digest}`);
  return { held: 0, hash: undefined, verified: false };
}

/** The blob from `start` on, the last byte only once the whole has been hashed and compared. */
async function* verifiedBytes(options: PastOptions, base: Base): AsyncGenerator<Buffer, void, undefined> {
  const { attempt, job, start, signal } = options;
  const { size } = attempt;
  const end = options.end ?? Infinity;
  const algorithm = algorithmOf(job.digest);
  const hash = base.hash?.copy() ?? newHash(algorithm);
  let position = base.hash === undefined ? 0 : Math.min(start, base.held);

  async function* parts(): AsyncGenerator<Buffer, void, undefined> {
    for await (const chunk of heldBytes(attempt, position, base.held, signal)) {
      if (base.hash === undefined) hash.update(chunk);
      yield chunk;
    }
    for await (const chunk of downloadFrom(options, base.held)) {
      hash.update(chunk);
      yield chunk;
    }
  }

  let kept: Buffer = Buffer.alloc(0);
  for await (const chunk of parts()) {
    if (kept.length > 0) yield kept;
    const wanted = chunk.subarray(Math.max(0, Math.min(start - position, chunk.length)), Math.max(0, end - position));
    position += chunk.length;
    // Where the size is not known, any byte may be the last until another comes.
    const keep = size === undefined ? wanted.length : Math.min(wanted.length, position === size ? 1 : 0);
    kept = wanted.subarray(wanted.length - keep);
    if (wanted.length > keep) yield wanted.subarray(0, wanted.length - keep);
  }
  if (finishHash(algorithm, hash) !== job.digest) throw new DownloadMismatch(job.digest);
  if (kept.length > 0) yield kept;
}

/** Bytes of the attempt, from memory or the store; `end` is exclusive. */
async function* heldBytes(attempt: Attempt, start: number, end: number, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  for (let position = start; position < end; ) {
    const held = attempt.memory?.at(position)?.subarray(0, end - position);
    if (held !== undefined) yield held;
    else yield* attempt.source.stream(position, Math.min(end, attempt.landed), signal);
    position = held === undefined ? Math.min(end, attempt.landed) : position + held.length;
  }
}

function downloadFrom({ attempt, job, signal, timers, observe }: PastOptions, start: number): AsyncIterable<Buffer> {
  const { digest } = job;
  if (attempt.size === start) return nothing();
  return download({
    digest, start, size: attempt.size, signal, timers,
    open: async (from, until) => job.download(from, until),
    resuming: (offset, error) => observe({ kind: 'resuming', digest, offset, error }),
  });
}

async function* nothing(): AsyncGenerator<Buffer, void, undefined> {
  // Everything had come.
}
