import { expect, test } from 'vitest';
import { parseBootstrapAnswer, parseBootstrapRequest, parseRenewAnswer, parseRenewRequest, WireError } from './bootstrap-wire.ts';

const SECRET = 'A'.repeat(43);
const REQUEST = { token: `umbra-token-${SECRET}`, node: { name: 'node-1', role: 'worker', arch: 'amd64', version: '1.0.0' } };
const ANSWER = { node: { id: '0b5e7a52-6c1f-4f0e-9a53-0f2f6a0a9d11', key: `umbra-node-${SECRET}` }, renewSeconds: 300, generation: 1, credential: { url: 'https://k.example.org', password: 'p' } };
const RENEWAL = { version: '1.0.0', role: 'master', lastError: null, disk: { usedBytes: 0, maxBytes: 5 }, generation: 3 };

test('bodies come through as they are, and what a later version says beside them is left alone', () => {
  expect(parseBootstrapRequest(JSON.stringify({ ...REQUEST, later: 1 }))).toEqual(REQUEST);
  expect(parseBootstrapAnswer(JSON.stringify({ ...ANSWER, later: 1 }))).toEqual(ANSWER);
  expect(parseRenewRequest(JSON.stringify({ ...RENEWAL, later: 1 }))).toEqual(RENEWAL);
  expect(parseRenewAnswer(JSON.stringify({ generation: 3, renewSeconds: 1, later: 1 }))).toEqual({ generation: 3, renewSeconds: 1 });
});

test.each<[(text: string) => unknown, unknown, string]>([
  [parseBootstrapRequest, [], 'token: missing'],
  [parseBootstrapRequest, null, 'expected a map'],
  [parseBootstrapRequest, { ...REQUEST, token: `umbra-token-${SECRET}A` }, 'token: expected a bootstrap token'],
  [parseBootstrapRequest, { ...REQUEST, node: { ...REQUEST.node, role: 'owner' } }, 'node.role: expected master or worker'],
  [parseBootstrapRequest, { ...REQUEST, node: { ...REQUEST.node, name: 'a\nb' } }, 'node.name: expected one line'],
  [parseBootstrapRequest, { ...REQUEST, node: { ...REQUEST.node, name: 'a'.repeat(256) } }, 'node.name: expected at most 255 characters'],
  [parseBootstrapAnswer, { ...ANSWER, node: { ...ANSWER.node, id: '../../etc' } }, 'node.id: expected a UUID'],
  [parseBootstrapAnswer, { ...ANSWER, credential: { password: 'p' } }, 'credential: expected a url'],
  [parseBootstrapAnswer, { ...ANSWER, credential: { url: 'u', password: 7 } }, 'credential.password: expected text'],
  [parseBootstrapAnswer, { ...ANSWER, pushUser: { name: 'a:b', password: 'p' } }, 'pushUser.name: expected no colon'],
  [parseRenewRequest, { ...RENEWAL, disk: undefined }, 'disk: missing'],
  [parseRenewRequest, { ...RENEWAL, disk: { usedBytes: -1, maxBytes: 5 } }, 'disk.usedBytes: expected at least 0'],
  [parseRenewRequest, { ...RENEWAL, generation: 1.5 }, 'generation: expected a whole number'],
  [parseRenewRequest, { ...RENEWAL, lastError: 'e'.repeat(501) }, 'lastError: expected at most 500 characters'],
  [parseRenewAnswer, { generation: 1, renewSeconds: 1e9 }, 'renewSeconds: expected at most 86400'],
])('what is wrong is named: %#', (parse, body, message) => {
  expect(() => parse(JSON.stringify(body))).toThrow(new WireError(message));
});

test('no message repeats what may be a secret', () => {
  const told = (run: () => unknown): string => {
    try {
      run();
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  };
  expect(told(() => parseBootstrapRequest(`{"token": hunter2`))).toBe('expected JSON');
  expect(told(() => parseBootstrapRequest(JSON.stringify({ ...REQUEST, token: 'hunter2' })))).not.toContain('hunter2');
});
