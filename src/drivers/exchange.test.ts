import { getEventListeners } from 'node:events';
import type { Dispatcher } from 'undici';
import { describe, expect, it } from 'vitest';
import { exchange, type Answer } from './exchange.ts';

const KIB = 1024;

/** Stands where undici stands: what the test says arrives, and what is asked of the connection is written down. */
class Wire implements Dispatcher.DispatchController {
  readonly asked: string[] = [];
  readonly aborted = false;
  readonly reason = null;
  paused = false;
  handler!: Dispatcher.DispatchHandler;

  pause(): void {
    this.paused = true;
    this.asked.push('pause');
  }

  resume(): void {
    this.paused = false;
    this.asked.push('resume');
  }

  abort(reason: Error): void {
    this.asked.push('abort');
    this.handler.onResponseError?.(this, reason);
  }

  async open(signal = new AbortController().signal, status = 200): Promise<Answer> {
    const dispatcher = {
      dispatch: (_: unknown, handler: Dispatcher.DispatchHandler) => {
        this.handler = handler;
        handler.onRequestStart?.(this, {});
        handler.onResponseStart?.(this, status, {});
        return true;
      },
    };
    return await exchange(dispatcher as unknown as Dispatcher /* all of it that is called */, { method: 'GET', path: '/' }, signal);
  }

  arrive(bytes: number): void {
    this.handler.onResponseData?.(this, Buffer.alloc(bytes));
  }

  end(): void {
    this.handler.onResponseEnd?.(this, {});
  }
}

async function open(): Promise<{ wire: Wire; answer: Answer; chunks: AsyncIterator<Buffer> }> {
  const wire = new Wire();
  const answer = await wire.open();
  return { wire, answer, chunks: answer.body[Symbol.asyncIterator]() };
}

describe('a body', () => {
  it('pauses the connection while half a MiB waits, and resumes it when half of that is taken', async () => {
    const { wire, chunks } = await open();
    for (let i = 0; i < 4; i++) wire.arrive(128 * KIB);
    expect(wire.asked).toEqual(['pause']);
    await chunks.next();
    await chunks.next();
    expect(wire.asked).toEqual(['pause']);
    await chunks.next();
    expect(wire.asked).toEqual(['pause', 'resume']);
  });

  it('joins small chunks that wait together, and no large ones', async () => {
    const { wire, chunks } = await open();
    const sizes = async (): Promise<number | undefined> => ((await chunks.next()).value as Buffer | undefined)?.length;
    for (let i = 0; i < 10; i++) wire.arrive(16 * KIB);
    expect(await sizes()).toBe(160 * KIB);
    wire.arrive(100 * KIB);
    wire.arrive(90 * KIB);
    expect(await sizes()).toBe(100 * KIB);
    wire.end();
    expect(await sizes()).toBe(90 * KIB);
    expect(await chunks.next()).toEqual({ done: true, value: undefined });
  });

  it('gives what came before an error, then the error', async () => {
    const { wire, chunks } = await open();
    wire.arrive(10);
    wire.handler.onResponseError?.(wire, new Error('gone'));
    expect((await chunks.next()).value).toHaveLength(10);
    await expect(chunks.next()).rejects.toThrow('gone');
  });

  it('that is left early is aborted, one that ended is not', async () => {
    const left = await open();
    left.wire.arrive(10);
    await left.chunks.next();
    await left.chunks.return?.();
    expect(left.wire.asked).toEqual(['abort']);
    const read = await open();
    read.wire.end();
    await read.chunks.next();
    expect(read.wire.asked).toEqual([]);
  });

  it('that is discarded is read on for a little while', async () => {
    const { wire, answer } = await open();
    wire.arrive(40 * KIB);
    answer.body.discard();
    wire.arrive(24 * KIB);
    expect(wire.asked).toEqual(['resume']);
    wire.arrive(1);
    expect(wire.asked).toEqual(['resume', 'abort']);
  });

  it('that is gathered is cut off above the limit', async () => {
    const small = await open();
    small.wire.arrive(60);
    small.wire.arrive(40);
    small.wire.end();
    expect(await small.answer.body.gather(100)).toHaveLength(100);
    const large = await open();
    large.wire.arrive(101);
    expect(await large.answer.body.gather(100)).toBeUndefined();
    expect(large.wire.asked).toEqual(['abort']);
  });

  it('lets go of the signal when it is over', async () => {
    const leaving = new AbortController();
    const wire = new Wire();
    await wire.open(leaving.signal);
    expect(getEventListeners(leaving.signal, 'abort')).toHaveLength(1);
    wire.end();
    expect(getEventListeners(leaving.signal, 'abort')).toEqual([]);
  });
});

it('an interim answer is not the answer', async () => {
  const wire = new Wire();
  const answer = wire.open(undefined, 103);
  wire.handler.onResponseStart?.(wire, 200, {});
  expect((await answer).status).toBe(200);
});

it('given up before it began, the exchange is aborted when it begins', async () => {
  const leaving = new AbortController();
  const asked: unknown[] = [];
  let handler: Dispatcher.DispatchHandler | undefined;
  const dispatcher = { dispatch: (_: unknown, given: Dispatcher.DispatchHandler) => { handler = given; return true; } };
  const answer = exchange(dispatcher as unknown as Dispatcher /* all of it that is called */, { method: 'GET', path: '/' }, leaving.signal);
  const reason = new Error('the client left');
  leaving.abort(reason);
  await expect(answer).rejects.toBe(reason);
  handler?.onRequestStart?.({ abort: (why: unknown) => asked.push(why) } as unknown as Dispatcher.DispatchController /* all of it that is called */, {});
  expect(asked).toEqual([reason]);
});
