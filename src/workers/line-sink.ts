/**
 * Several streams of lines into one, never a line within another: the workers' logs into the primary's. Copies blocks
 * of whole lines, looking only for the last newline of each, and reads no faster than the output takes.
 */
import type { Readable, Writable } from 'node:stream';

/** A line that is longer is cut in pieces of about this size, each with a newline. */
const MAX_LINE_BYTES = 256 * 1024;
const NEWLINE = Buffer.from('\n');

export class LineSink {
  readonly #output: Writable;
  readonly #sources = new Set<Readable>();
  #full = false;
  #broken = false;

  constructor(output: Writable) {
    this.#output = output;
    output.on('drain', () => this.#resume());
    // Nobody reads the log any more (EPIPE): the server goes on, and the workers must not block on a pipe nobody empties.
    output.on('error', () => {
      this.#broken = true;
      this.#resume();
    });
  }

  /** Copies until the source ends; a last line without a newline gets one. */
  async copy(source: Readable): Promise<void> {
    let rest: Buffer[] = [];
    let restBytes = 0;
    const flush = (end: Buffer): void => {
      this.#write(restBytes === 0 ? end : Buffer.concat([...rest, end]));
      rest = [];
      restBytes = 0;
    };
    const keep = (part: Buffer): void => {
      if (part.length === 0) return;
      rest.push(part);
      restBytes += part.length;
      if (restBytes > MAX_LINE_BYTES) flush(NEWLINE);
    };
    this.#sources.add(source);
    source.on('data', (chunk: Buffer) => {
      const end = chunk.lastIndexOf(0x0a) + 1;
      if (end > 0) flush(chunk.subarray(0, end));
      keep(chunk.subarray(end));
    });
    if (this.#full) source.pause();
    await new Promise<void>((resolve) => {
      source.once('close', resolve);
      source.once('error', () => source.destroy());
    });
    this.#sources.delete(source);
    if (restBytes > 0) flush(NEWLINE);
  }

  #write(block: Buffer): void {
    if (this.#broken || this.#output.write(block)) return;
    this.#full = true;
    for (const source of this.#sources) source.pause();
  }

  #resume(): void {
    this.#full = false;
    for (const source of this.#sources) source.resume();
  }
}
