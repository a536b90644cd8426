import { describe, expect, it } from 'vitest';
import { isSecretField, redactText, redactUrl } from './redact.ts';

describe('a URL', () => {
  it.each([
    ['/v2/', '/v2/'],
    ['/v2/a/blobs/uploads/1?digest=sha256:00&ns=docker.io', '/v2/a/blobs/uploads/1?digest=sha256:00&ns=docker.io'],
    ['/v2/a/blobs/uploads/1?_state=abc&digest=sha256:00', '/v2/a/blobs/uploads/1?_state=***&digest=sha256:00'],
    ['/auth/token?service=x&password=hunter2', '/auth/token?service=x&password=***'],
    ['/x?token=t', '/x?token=***'],
    ['/x?TOKEN=t', '/x?TOKEN=***'],
    ['/x?%74oken=t', '/x?%74oken=***'],
    ['/x?%zz=t&token=t', '/x?%zz=t&token=***'],
    ['/x?token', '/x?token'],
    ['/x?a=token', '/x?a=token'],
    [
      'https://s3/b?X-Amz-Date=1&X-Amz-Signature=ff&X-Amz-Security-Token=s',
      'https://s3/b?X-Amz-Date=1&X-Amz-Signature=***&X-Amz-Security-Token=***',
    ],
    ['https://swift/o?temp_url_sig=ff&temp_url_expires=9', 'https://swift/o?temp_url_sig=***&temp_url_expires=9'],
    ['https://azure/o?sv=1&sig=ff', 'https://azure/o?sv=1&sig=***'],
  ])('%s', (url, shown) => {
    expect(redactUrl(url)).toBe(shown);
  });
});

describe('a text', () => {
  it.each([
    ['nothing to hide', 'nothing to hide'],
    ['GET https://s3/b?X-Amz-Signature=ff failed', 'GET https://s3/b?X-Amz-Signature=*** failed'],
    ['"https://s3/b?sig=ff", twice: https://s3/b?sig=gg', '"https://s3/b?sig=***", twice: https://s3/b?sig=***'],
    ['proxy http://user:hunter2@proxy:3128 refused', 'proxy http://***@proxy:3128 refused'],
    ['sent Authorization: Bearer eyJhbGciOi.eyJ.sig to it', 'sent Authorization: Bearer *** to it'],
    ['basic dXNlcjpwYXNz', 'basic ***'],
  ])('%s', (text, shown) => {
    expect(redactText(text)).toBe(shown);
  });
});

const SECRET_FIELDS =
  'authorization Authorization proxy-authorization cookie set-cookie X-Auth-Token x-auth-key token accessToken password clientSecret';

it('fields that are secrets by their name', () => {
  for (const name of SECRET_FIELDS.split(' ')) expect(isSecretField(name), name).toBe(true);
  for (const name of 'author tokens url name passwordFile'.split(' ')) expect(isSecretField(name), name).toBe(false);
});
