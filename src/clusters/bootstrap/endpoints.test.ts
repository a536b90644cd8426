import { beforeEach, expect, test } from 'vitest';
import { nodeEndpoints, type NodeEndpoints } from './endpoints.ts';
import { BootstrapRefusal } from './refusal.ts';

let [nowMs, looks] = [0, 0];
let endpoints: NodeEndpoints;
beforeEach(() => {
  [nowMs, looks] = [0, 0];
  const refuse = async (): Promise<never> => {
    looks++;
    throw new BootstrapRefusal(401, 'no');
  };
  endpoints = nodeEndpoints({ bootstrap: { exchange: refuse, renew: refuse }, nowMs: () => nowMs });
});

/** A token, by number. */
const bodyOf = (n: number): string => JSON.stringify({ token: `umbra-token-${String(n).padStart(43, 'A')}`, node: { name: 'node-1', role: 'worker', arch: 'amd64', version: '1.0.0' } });
const ask = async (address: string, text: string): Promise<unknown> => await endpoints.find('/v1/bootstrap')?.({ text, authorization: undefined, address });
const refused = (status: number, retryAfterSeconds?: number): unknown => expect.objectContaining({ status, retryAfterSeconds });

test('who is wrong too often from one network is put off without a look', async () => {
  for (let i = 0; i < 300; i++) await expect(ask(`2001:db8::${i}`, bodyOf(i))).rejects.toEqual(refused(401));
  await expect(ask('2001:db8::ffff', bodyOf(300))).rejects.toEqual(refused(429, 60));
  expect(looks).toBe(300);
  await expect(ask('2001:db8:0:1::1', bodyOf(301))).rejects.toEqual(refused(401));
  nowMs = 60_000;
  await expect(ask('2001:db8::1', bodyOf(302))).rejects.toEqual(refused(401));
  await expect(ask('192.0.2.1', '{}')).rejects.toEqual(refused(400));
});

test('who is wrong many times at once is counted each time', async () => {
  await Promise.allSettled(Array.from({ length: 300 }, async (_, i) => await ask('192.0.2.1', bodyOf(i))));
  await expect(ask('192.0.2.1', bodyOf(300))).rejects.toEqual(refused(429, 60));
});

test('a node that comes again and again with an old token keeps no other of its network out', async () => {
  for (let i = 0; i < 1000; i++) await expect(ask('192.0.2.1', bodyOf(1))).rejects.toEqual(refused(401));
  expect(looks).toBe(1);
  await expect(ask('192.0.2.1', bodyOf(2))).rejects.toEqual(refused(401));
});
