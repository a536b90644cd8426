/** Following one attempt: its bytes in order, from memory at the head and from the store behind it, as they come. */
import type { ByteRange } from '../drivers/driver.ts';
import type { RegistryError } from '../oci/errors.ts';
import type { Changes } from './changes.ts';
import type { Attempt, AttemptStatus } from './growing.ts';

/** The attempt's bytes are no good; another may begin. */
export class AttemptFailed extends Error {
  override readonly name = 'AttemptFailed';
  readonly error: RegistryError;

  constructor(error: RegistryError) {
    super(error.message);
    this.error = error;
  }
}

export interface AttemptBytes {
  readonly attempt: Attempt;
  readonly changes: Changes;
  /** Default: all. */
  readonly range: ByteRange | undefined;
  readonly signal: AbortSignal;
  /** Goes on where the store is full. */
  readonly past: (rest: Rest, status: Unstored) => AsyncIterable<Buffer>;
}

export interface Rest {
  readonly start: number;
  /** Exclusive; undefined: to the blob's end. */
  readonly end: number | undefined;
  /** Whether bytes of this attempt were given before. */
  readonly given: boolean;
}

export type Unstored = Extract<AttemptStatus, { kind: 'unstored' }>;

/** @throws AttemptFailed, SourceMoved, or what reading the store failed with */
export async function* attemptBytes({ attempt, changes, range, signal, past }: AttemptBytes): AsyncGenerator<Buffer, void, undefined> {
  let position = range?.start ?? 0;
  for (;;) {
    signal.throwIfAborted();
    const { status, size } = attempt;
    const end = range === undefined ? size : Math.min(range.end + 1, size ?? Infinity);
    if (status.kind === 'failed') throw new AttemptFailed(status.error);
    // Even of no bytes at all, the end is the verification.
    if (end !== undefined && position >= end && (end !== size || status.kind === 'verified')) return;
    const given = position > (range?.start ?? 0);
    if (status.kind === 'unstored') return yield* past({ start: position, end, given }, status);
    if (status.kind === 'orphaned') {
      // Who has nothing yet shares another download.
      if (!given) throw new AttemptFailed(status.error);
      return yield* past({ start: position, end, given }, { kind: 'unstored', hash: undefined, verified: false });
    }
    const limit = Math.min(end ?? Infinity, attempt.readable);
    if (position >= limit) {
      await changes.next(signal);
      continue;
    }
    const held = attempt.memory?.at(position);
    if (held === undefined && position >= attempt.landed) {
      // Let go, and not yet to be read from the store, which shows whole pieces only.
      await changes.next(signal);
    } else if (held === undefined) {
      const { opened } = attempt.source;
      try {
        for await (const chunk of attempt.source.stream(position, Math.min(limit, attempt.landed), signal)) {
          position += chunk.length;
          yield chunk;
          // Not to go on giving bytes that are known to be wrong.
          if (attempt.status.kind === 'failed') break;
        }
      } catch (error) {
        // Pieces go when what they make up is published, where it is found then, or turns out to be wrong.
        while (attempt.source.opened === opened && attempt.status.kind === 'growing') await changes.next(signal);
        if (attempt.source.opened === opened && attempt.status.kind === 'verified') throw error;
      }
    } else {
      const chunk = held.subarray(0, limit - position);
      position += chunk.length;
      yield chunk;
    }
  }
}
