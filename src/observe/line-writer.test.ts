import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualTimers } from '../upstream/fill.fixture.ts';
import { LineWriter } from './line-writer.ts';

let folder: string;
let path: string;
let fd: number;
let timers: ManualTimers;
let writer: LineWriter;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-log-'));
  path = join(folder, 'log');
  fd = openSync(path, 'a');
  timers = new ManualTimers();
  writer = new LineWriter({ fd, timers, dropped: (lines) => `dropped ${lines}\n` });
});
afterEach(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

const written = (): string => readFileSync(path, 'utf8');

it('gathers lines for a moment, then writes them in order', async () => {
  writer.write('a\n');
  writer.write('b\n');
  expect(written()).toBe('');
  expect(timers.pending).toHaveLength(1);
  expect(await timers.pass()).toBeLessThanOrEqual(200);
  await writer.flush();
  expect(written()).toBe('a\nb\n');
});

it('does not wait where there is much', async () => {
  const line = `${'x'.repeat(999)}\n`;
  for (let i = 0; i < 100; i++) writer.write(line);
  await writer.flush();
  expect(written()).toBe(line.repeat(100));
  expect(timers.pending).toHaveLength(0);
});

it('writes what is left at the end of the process, without a turn of the event loop', () => {
  writer.write('last words\n');
  writer.flushSync();
  expect(written()).toBe('last words\n');
  expect(timers.pending).toHaveLength(0);
});

it('flushing with nothing to write resolves', async () => {
  await writer.flush();
  expect(written()).toBe('');
});

it('characters of several bytes are kept whole', async () => {
  const line = 'ä€𝄞\n'.repeat(10_000);
  writer.write(line);
  await writer.flush();
  expect(written()).toBe(line);
});

describe('a pipe', () => {
  let readEnd: number;
  let writeEnd: number;
  let piped: LineWriter;

  beforeEach(() => {
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    readEnd = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    writeEnd = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
    piped = new LineWriter({ fd: writeEnd, timers, dropped: (lines) => `dropped ${lines}\n` });
  });
  afterEach(() => closeSync(writeEnd));

  function readAll(): string {
    const pieces: Buffer[] = [];
    const piece = Buffer.alloc(65536);
    try {
      for (let count = readSync(readEnd, piece); count > 0; count = readSync(readEnd, piece))
        pieces.push(Buffer.from(piece.subarray(0, count)));
    } catch (error) {
      expect(error).toMatchObject({ code: 'EAGAIN' });
    }
    return Buffer.concat(pieces).toString();
  }

  it('whose reader is slow loses nothing below the bound; beyond it lines are dropped and counted', async () => {
    const line = `${'x'.repeat(1024 * 1024 - 1)}\n`;
    for (let i = 0; i < 9; i++) piped.write(line); // one on its way, five waiting, three too many
    const flushed = piped.flush();
    let ended = false;
    void flushed.then(() => (ended = true));
    let text = '';
    while (!ended) {
      if (timers.pending.length > 0) await timers.pass(); // the pipe was full
      await new Promise(setImmediate);
      text += readAll();
    }
    text += readAll();
    expect(text).toBe(`${line.repeat(6)}dropped 3\n`);
    closeSync(readEnd);
  });

  it('whose reader is gone ends the writing, not the process', async () => {
    closeSync(readEnd);
    piped.write('a\n');
    await piped.flush();
    piped.write('b\n');
    await piped.flush();
    piped.flushSync();
    expect(timers.pending).toHaveLength(0);
  });

  it('that is full does not hold up the end of the process for ever', () => {
    expect(() => {
      for (;;) writeSync(writeEnd, 'x'.repeat(4096));
    }).toThrow('EAGAIN');
    piped.write('y\n');
    piped.flushSync();
    expect(readAll()).not.toContain('y');
    closeSync(readEnd);
  });
});
