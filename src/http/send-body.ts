/**
 * Sends bodies whose head is written: sections of a source through pooled buffers, the next read under way while the
 * last write drains; and streams of chunks. A body that cannot be finished never ends as if it were whole: the
 * connection is destroyed.
 */
import type { ServerResponse } from 'node:http';
import type { Slab } from '../content/intake.ts';
import type { Source } from '../drivers/driver.ts';
import type { BufferPool, PoolMember } from './buffers.ts';
import { sectionLength, type Section } from './multipart.ts';
import { Outlet } from './outlet.ts';
import { SectionReader } from './section-reader.ts';

export interface SendOptions {
  readonly pool: BufferPool;
  /** A client that takes no byte for so long is cut off. */
  readonly stallMs: number;
  /** Told of bytes that went out, as they do. */
  readonly sent: (bytes: number) => void;
}

/** One that drains and one that fills. */
const SLABS_PER_BODY = 2;
/** How much of a stream may wait for a slow client. */
const MAX_WAITING_BYTES = 256 * 1024;

/**
 * Sends the sections and ends the response. Closing the source stays with the caller, at once when this settles.
 * Rejects with ClientLeft where the client went away or was cut off, else with what the source failed with.
 */
export async function sendSource(
  response: ServerResponse,
  source: Source,
  sections: readonly Section[],
  options: SendOptions,
): Promise<void> {
  if (source.read === undefined) {
    const length = sections.reduce((sum, section) => sum + sectionLength(section), 0);
    return await sendChunks(response, (signal) => chunksOf(source, sections, signal), length, options);
  }
  const reader = new SectionReader(source.read.bind(source), sections);
  await sending(response, options, async (outlet) => {
    if (reader.remaining === 0) outlet.end();
    const member = options.pool.join(SLABS_PER_BODY);
    try {
      while (reader.remaining > 0) await sendSlab(outlet, reader, await nextSlab(outlet, member, reader.remaining));
      await outlet.drained();
    } finally {
      member.leave();
    }
  });
}

/** A second buffer only where nobody else waits for one; a body that has none waits in turn. */
async function nextSlab(outlet: Outlet, member: PoolMember, remaining: number): Promise<Slab> {
  while (true) {
    outlet.check();
    const slab = outlet.pieces < SLABS_PER_BODY ? member.tryTake(remaining) : undefined;
    if (slab !== undefined) return slab;
    if (outlet.pieces === 0) return await member.take(remaining, outlet.signal);
    await outlet.progress();
  }
}

async function sendSlab(outlet: Outlet, reader: SectionReader, slab: Slab): Promise<void> {
  let length: number;
  try {
    length = await reader.fill(slab.bytes);
  } catch (error) {
    slab.release();
    throw error;
  }
  outlet.write(slab.bytes.subarray(0, length), reader.remaining === 0, () => slab.release());
}

/**
 * Sends what the stream gives and ends the response. The stream gets a signal that aborts when the client leaves.
 * @param length what was promised; a stream of another length destroys the connection. undefined: whatever comes
 */
export async function sendChunks(
  response: ServerResponse,
  open: (signal: AbortSignal) => AsyncIterable<Uint8Array>,
  length: number | undefined,
  options: SendOptions,
): Promise<void> {
  await sending(response, options, async (outlet) => {
    let given = 0;
    for await (const chunk of open(outlet.signal)) {
      outlet.check();
      given += chunk.length;
      if (length !== undefined && given > length) throw new Error(`the stream is longer than the ${length} bytes that were promised`);
      outlet.write(chunk, given === length, () => undefined);
      while (outlet.waitingBytes > MAX_WAITING_BYTES) await outlet.progress();
    }
    if (length !== undefined && given < length) throw new Error(`the stream ends after ${given} of the ${length} bytes that were promised`);
    if (given !== length || length === 0) outlet.end();
    await outlet.drained();
  });
}

async function sending(response: ServerResponse, { stallMs, sent }: SendOptions, send: (outlet: Outlet) => Promise<void>): Promise<void> {
  const outlet = new Outlet(response, stallMs, sent);
  try {
    await send(outlet);
  } catch (error) {
    outlet.check(); // whatever broke, it broke because the client had left
    response.destroy();
    throw error;
  } finally {
    outlet.close();
  }
}

async function* chunksOf(source: Source, sections: readonly Section[], signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (const section of sections) {
    if (section instanceof Uint8Array) yield section;
    else yield* source.stream(section, { signal });
  }
}
