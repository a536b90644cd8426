/** What the appenders of all object stores have in common. */
import { expect, test } from 'vitest';
import { ManualTimers } from '../../upstream/fill.fixture.ts';
import type { Appender } from '../driver.ts';
import { S3Appender, type S3AppenderOptions } from '../s3/appender.ts';
import { blockPool, SwiftAppender } from '../swift/appender.ts';
import { SegmentMemory } from './segment-memory.ts';

const never = async (): Promise<never> => expect.fail('nothing is to be sent');

test.each<[string, (memory: SegmentMemory) => Appender]>([
  ['Swift', (memory) => new SwiftAppender({
    memory, blocks: blockPool(1), prefix: 'uploads/a', attempt: 'a', from: { segments: [], inline: Buffer.alloc(0) }, sizeAt: () => 1024 * 1024,
    put: never, read: never, remove: async () => undefined, nowMs: () => 0, onEnd: () => undefined,
  })],
  ['S3', (memory) => new S3Appender({
    memory, calls: {} as S3AppenderOptions['calls'], objects: {} as S3AppenderOptions['objects'], /* nothing is sent */ root: '', prefix: 'uploads/a', attempt: 'a', from: [],
    read: never, etagIsMd5: true, remove: async () => undefined, nowMs: () => 0,
  })],
])('an upload to %s of which some could not be taken is not finished as if it were whole', async (_, make) => {
  const timers = new ManualTimers();
  const memory = new SegmentMemory({ totalBytes: 8 * 1024 * 1024, nowMs: () => 0, timers });
  await memory.reserve(8 * 1024 * 1024);
  const appender = make(memory);
  const lost = appender.write(Buffer.from('lost')).catch((error: unknown) => error);
  await timers.pass();
  while (timers.pending.length > 0) await timers.pass();
  expect(await lost).toMatchObject({ failure: 'retryable' });
  memory.release(8 * 1024 * 1024);
  await expect(appender.write(Buffer.from('kept'))).rejects.toBe(await lost);
  await expect(appender.finish()).rejects.toBe(await lost);
});
