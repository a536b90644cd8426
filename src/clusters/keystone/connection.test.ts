import { expect, test } from 'vitest';
import { jsonOf } from './connection.ts';

test.each(['', '<html>secret', '{"trust":{"id":"secret', '"secret"', 'null'])('an answer %j is none of Keystone, may be another later, and is not repeated', (text) => {
  expect(() => jsonOf('make a trust', text)).toThrow(expect.objectContaining({ name: 'CloudError', failure: 'retryable', message: 'make a trust: the answer is not that of Keystone or Swift' }));
});
