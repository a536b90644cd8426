import { expect, it } from 'vitest';
import { proxyFor, type Environment } from './proxy.ts';

const HTTPS = { HTTPS_PROXY: 'http://secure:1', HTTP_PROXY: 'http://plain:2' };

it.each<[string, string, Environment, string | undefined]>([
  ['nothing set', 'https://a.example', {}, undefined],
  ['https', 'https://a.example', HTTPS, 'http://secure:1'],
  ['http', 'http://a.example', HTTPS, 'http://plain:2'],
  ['https does not use HTTP_PROXY', 'https://a.example', { HTTP_PROXY: 'http://plain:2' }, undefined],
  ['lower case wins', 'https://a.example', { ...HTTPS, https_proxy: 'http://lower:3' }, 'http://lower:3'],
  ['empty is unset', 'https://a.example', { HTTPS_PROXY: '' }, undefined],
  ['no scheme', 'https://a.example', { HTTPS_PROXY: 'proxy:3128' }, 'http://proxy:3128'],
  ['localhost', 'https://localhost:5000', HTTPS, undefined],
  ['IPv4 loopback', 'https://127.1.2.3', HTTPS, undefined],
  ['IPv6 loopback', 'https://[::1]:5000', HTTPS, undefined],
  ['everything excepted', 'https://a.example', { ...HTTPS, NO_PROXY: '*' }, undefined],
  ['the host', 'https://a.example', { ...HTTPS, NO_PROXY: 'b.example, A.example' }, undefined],
  ['a domain', 'https://x.a.example', { ...HTTPS, NO_PROXY: 'a.example' }, undefined],
  ['a domain with a dot', 'https://x.a.example', { ...HTTPS, no_proxy: '.a.example' }, undefined],
  ['a domain with a star', 'https://x.a.example', { ...HTTPS, no_proxy: '*.a.example' }, undefined],
  ['not a suffix without a dot', 'https://ba.example', { ...HTTPS, NO_PROXY: 'a.example' }, 'http://secure:1'],
  ['the port', 'https://a.example:5000', { ...HTTPS, NO_PROXY: 'a.example:5000' }, undefined],
  ['the scheme\'s own port', 'https://a.example', { ...HTTPS, NO_PROXY: 'a.example:443' }, undefined],
  ['another port', 'https://a.example', { ...HTTPS, NO_PROXY: 'a.example:5000' }, 'http://secure:1'],
  ['an address', 'https://10.1.2.3', { ...HTTPS, NO_PROXY: '10.1.2.3' }, undefined],
  ['an address is no suffix', 'https://10.1.2.3', { ...HTTPS, NO_PROXY: '2.3' }, 'http://secure:1'],
  ['an IPv6 address', 'https://[fd00::1]:5000', { ...HTTPS, NO_PROXY: 'fd00::1' }, undefined],
  ['an IPv6 address with its port', 'https://[fd00::1]:5000', { ...HTTPS, NO_PROXY: '[fd00::1]:5000' }, undefined],
  ['a block', 'https://10.1.2.3', { ...HTTPS, NO_PROXY: '10.0.0.0/8' }, undefined],
  ['another block', 'https://11.1.2.3', { ...HTTPS, NO_PROXY: '10.0.0.0/8' }, 'http://secure:1'],
  ['an IPv6 block', 'https://[fd00::1]', { ...HTTPS, NO_PROXY: 'fd00::/8' }, undefined],
  ['a block that is none', 'https://10.1.2.3', { ...HTTPS, NO_PROXY: '10.0.0.0/99' }, 'http://secure:1'],
])('%s', (_, url, env, expected) => {
  expect(proxyFor(new URL(url), env)).toBe(expected);
});
