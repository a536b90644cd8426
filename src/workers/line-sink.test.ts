import { once } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineSink } from './line-sink.ts';

/** An output that takes nothing until it is told to. */
class Slow extends Writable {
  text = '';
  #pass: (() => void)[] = [];
  #open = false;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    if (this.#open) done();
    else this.#pass.push(done);
  }

  open(): void {
    this.#open = true;
    for (const done of this.#pass.splice(0)) done();
  }
}

describe('lines of several sources', () => {
  test('come whole and complete, however the sources cut them', async () => {
    const line = fc.stringMatching(/^[a-z]{0,9}$/);
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 20 }), fc.array(line, { maxLength: 20 }), fc.infiniteStream(fc.nat(6)), async (one, two, cuts) => {
        const output = new Slow();
        output.open();
        const sink = new LineSink(output);
        const sources = [new PassThrough(), new PassThrough()];
        const copies = sources.map(async (source) => sink.copy(source));
        const texts = [one.map((l) => `1${l}\n`).join(''), two.map((l) => `2${l}\n`).join('')];
        while (texts.some((text) => text !== '')) {
          for (const [i, source] of sources.entries()) {
            const cut = cuts.next().value as number;
            source.write(texts[i]!.slice(0, cut));
            texts[i] = texts[i]!.slice(cut);
            await new Promise(setImmediate);
          }
        }
        for (const source of sources) source.end();
        await Promise.all(copies);
        const lines = output.text.split('\n').slice(0, -1);
        expect(lines.filter((l) => l.startsWith('1')).map((l) => l.slice(1))).toEqual(one);
        expect(lines.filter((l) => l.startsWith('2')).map((l) => l.slice(1))).toEqual(two);
      }),
      { numRuns: 30 },
    );
  });

  test('get a newline at the end of a source, and where one never ends', async () => {
    const output = new Slow();
    output.open();
    const sink = new LineSink(output);
    const source = new PassThrough();
    const copied = sink.copy(source);
    source.write(Buffer.alloc(300 * 1024, 'x'));
    source.end('last');
    await copied;
    const lines = output.text.split('\n');
    expect(lines.at(-1)).toBe('');
    expect(lines.join('')).toBe(`${'x'.repeat(300 * 1024)}last`);
    expect(lines.length).toBeGreaterThan(2);
  });

  test('are not read faster than the output takes them', async () => {
    const output = new Slow();
    const sink = new LineSink(output);
    const source = new PassThrough();
    const copied = sink.copy(source);
    const block = Buffer.alloc(64 * 1024, 'y'.repeat(63) + '\n');
    let written = 0;
    while (source.write(block) || written === 0) {
      written += block.length;
      await new Promise(setImmediate);
      if (written > 1024 * 1024) throw new Error('no backpressure');
    }
    output.open();
    await once(source, 'drain');
    source.end();
    await copied;
    expect(output.text.length).toBe(written + block.length);
  });

  test('are read and dropped once nobody reads the output', async () => {
    const output = new Slow();
    const sink = new LineSink(output);
    const source = new PassThrough();
    const copied = sink.copy(source);
    output.destroy(new Error('EPIPE'));
    await new Promise((resolve) => output.on('close', resolve));
    for (let i = 0; i < 32; i++) if (!source.write(Buffer.alloc(64 * 1024, '\n'))) await once(source, 'drain');
    source.end();
    await copied;
  });
});
