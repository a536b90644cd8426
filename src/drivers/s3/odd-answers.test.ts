/** An S3 that answers what it should not: whoever asks it ends all the same. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { systemTimers } from '../../workers/timers.ts';
import { all } from '../contract/store.contract.ts';
import { attempts } from '../object-store/attempts.ts';
import { S3Calls } from './client.ts';
import { listKeys } from './listing.ts';
import { S3Objects } from './objects.ts';

const closing: (() => void)[] = [];
afterEach(() => closing.splice(0).forEach((close) => close()));

async function callsOf(answer: (res: ServerResponse) => void): Promise<S3Calls> {
  const server = createServer((_, res) => answer(res)).listen(0);
  await once(server, 'listening');
  const calls = new S3Calls({
    bucket: 'images', endpoint: `http://localhost:${(server.address() as AddressInfo).port}`, region: 'here', pathStyle: true, ca: undefined, insecure: false,
    credentials: { accessKeyId: 'id', secretAccessKey: { reveal: () => 'secret' } }, store: 'S3',
    attempts: attempts({ nowMs: Date.now, timers: systemTimers, random: () => 0, store: 'S3', report: () => undefined }),
  });
  closing.push(() => {
    calls.close();
    server.closeAllConnections();
    server.close();
  });
  return calls;
}

test('a listing that does not move on is none', async () => {
  const page = '<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken></ListBucketResult>';
  const calls = await callsOf((res) => void res.writeHead(200, { 'content-type': 'application/xml' }).end(page));
  await expect(all(listKeys(calls, '', '', {}))).rejects.toThrow('the same page again');
});

test('a value that has more bytes than may be read is not read on, whatever was said of it', async () => {
  const calls = await callsOf((res) => {
    const more = (error?: Error | null): void => {
      if (error === undefined || error === null) setImmediate(() => res.write(Buffer.alloc(64 * 1024), more));
    };
    more();
  });
  const objects = new S3Objects({ calls, root: '', newId: () => 'id', conditions: true, etagIsMd5: true });
  await expect(objects.get('key', { maxBytes: 1_000_000 })).rejects.toThrow('at most 1000000');
});
