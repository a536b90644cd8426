import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { baseUrlOf, clientAddress, trustedProxies } from './client-address.ts';

const proxies = trustedProxies(['127.0.0.1', '10.0.0.0/8', 'fd00::/8']);
const nobody = trustedProxies([]);

/** The parts of a request that are looked at. */
function request(remoteAddress: string, headers: IncomingMessage['headers'], encrypted = false): IncomingMessage {
  return { headers, socket: { remoteAddress, encrypted, localAddress: '192.0.2.1', localPort: 5000 } } as unknown as IncomingMessage;
}

describe('the client\'s address', () => {
  it.each([
    ['nobody forwarded', '192.0.2.7', undefined, '192.0.2.7'],
    ['an untrusted peer is not believed', '192.0.2.7', '203.0.113.1', '192.0.2.7'],
    ['a trusted proxy is', '127.0.0.1', '203.0.113.1', '203.0.113.1'],
    ['through two proxies', '127.0.0.1', '203.0.113.1, 10.1.2.3', '203.0.113.1'],
    ['what stands before an untrusted hop may be made up', '127.0.0.1', '6.6.6.6, 203.0.113.1', '203.0.113.1'],
    ['IPv4 in IPv6', '::ffff:127.0.0.1', '203.0.113.1', '203.0.113.1'],
    ['an IPv6 proxy', 'fd00::1', '2001:db8::1', '2001:db8::1'],
    ['nonsense ends it', '127.0.0.1', 'evil\nline', '127.0.0.1'],
  ])('%s', (_, peer, forwarded, expected) => {
    expect(clientAddress(request(peer, forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }), proxies)).toBe(expected);
  });

  it('without trusted proxies nobody is believed', () => {
    expect(clientAddress(request('127.0.0.1', { 'x-forwarded-for': '203.0.113.1' }), nobody)).toBe('127.0.0.1');
  });
});

describe('the URL that a client reached us by', () => {
  it.each([
    ['the Host header', request('192.0.2.7', { host: 'registry.example.org' }), 'http://registry.example.org'],
    ['TLS', request('192.0.2.7', { host: 'registry.example.org:5000' }, true), 'https://registry.example.org:5000'],
    ['an IPv6 host', request('192.0.2.7', { host: '[::1]:5000' }), 'http://[::1]:5000'],
    ['behind a trusted proxy', request('127.0.0.1', { host: 'inside', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'outside.example.org' }), 'https://outside.example.org'],
    ['forwarded by somebody else', request('192.0.2.7', { host: 'inside', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'evil' }), 'http://inside'],
    ['a Host header that would break out of a quoted string', request('192.0.2.7', { host: 'a",service="b' }), 'http://192.0.2.1:5000'],
    ['no Host header', request('192.0.2.7', {}), 'http://192.0.2.1:5000'],
  ])('%s', (_, req, expected) => {
    expect(baseUrlOf(req, proxies)).toBe(expected);
  });
});
