import { expect, test } from 'vitest';
import { nodeEndpoints } from './endpoints.ts';
import { BootstrapRefusal } from './refusal.ts';

const BODY = JSON.stringify({ token: `umbra-token-${'A'.repeat(43)}`, node: { name: 'node-1', role: 'worker', arch: 'amd64', version: '1.0.0' } });

test('who is wrong too often from one network is put off without a look', async () => {
  let [nowMs, looks] = [0, 0];
  const refuse = async (): Promise<never> => {
    looks++;
    throw new BootstrapRefusal(401, 'no');
  };
  const endpoints = nodeEndpoints({ bootstrap: { exchange: refuse, renew: refuse }, nowMs: () => nowMs });
  const ask = async (address: string, text = BODY): Promise<unknown> => await endpoints.find('/v1/bootstrap')?.({ text, authorization: undefined, address });
  const refused = (status: number, retryAfterSeconds?: number): unknown => expect.objectContaining({ status, retryAfterSeconds });
  for (let i = 0; i < 300; i++) await expect(ask(`2001:db8::${i}`)).rejects.toEqual(refused(401));
  await expect(ask('2001:db8::ffff')).rejects.toEqual(refused(429, 60));
  expect(looks).toBe(300);
  await expect(ask('2001:db8:0:1::1')).rejects.toEqual(refused(401));
  nowMs = 60_000;
  await expect(ask('2001:db8::1')).rejects.toEqual(refused(401));
  await expect(ask('192.0.2.1', '{}')).rejects.toEqual(refused(400));
});
