/**
 * Who the client is behind proxies that are trusted: its address for the log, and the URL that it reached us by
 * (RFC 7239 and the X-Forwarded headers that came before it). Headers of anybody else are not believed.
 */
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';

export interface TrustedProxies {
  trusts(address: string): boolean;
}

/** @param entries addresses and CIDR ranges, checked by the configuration */
export function trustedProxies(entries: readonly string[]): TrustedProxies {
  const list = new BlockList();
  for (const entry of entries) {
    const [address = '', prefix] = entry.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return {
    trusts: (address) => entries.length > 0 && list.check(plain(address), isIP(plain(address)) === 6 ? 'ipv6' : 'ipv4'),
  };
}

/** The nearest address that is not a trusted proxy's. */
export function clientAddress(req: IncomingMessage, proxies: TrustedProxies): string {
  let address = plain(req.socket.remoteAddress ?? '');
  const forwarded = req.headers['x-forwarded-for'];
  if (forwarded === undefined) return address;
  const hops = (Array.isArray(forwarded) ? forwarded.join(',') : forwarded).split(',').map((hop) => hop.trim());
  while (hops.length > 0 && proxies.trusts(address)) {
    const hop = hops.pop() ?? '';
    if (isIP(hop) === 0) break;
    address = hop;
  }
  return address;
}

const HOST = /^[A-Za-z0-9.-]+(?::[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?$/;

/** `scheme://host[:port]` as the client wrote it; a Host header that is no host is replaced by the local address. */
export function baseUrlOf(req: IncomingMessage, proxies: TrustedProxies): string {
  const behind = proxies.trusts(plain(req.socket.remoteAddress ?? ''));
  const one = (name: string): string | undefined => {
    const value = req.headers[name];
    return behind && typeof value === 'string' ? value.split(',')[0]?.trim() : undefined;
  };
  const forwardedProto = one('x-forwarded-proto');
  const scheme = forwardedProto === 'https' || forwardedProto === 'http' ? forwardedProto : (req.socket as TLSSocket).encrypted === true ? 'https' : 'http'; // a plain socket has no such field
  const host = one('x-forwarded-host') ?? req.headers.host ?? '';
  return `${scheme}://${HOST.test(host) ? host : localAddress(req)}`;
}

function localAddress({ socket }: IncomingMessage): string {
  const address = plain(socket.localAddress ?? 'localhost');
  return `${address.includes(':') ? `[${address}]` : address}:${socket.localPort ?? 80}`;
}

/** IPv4 in IPv6's clothes, undressed. */
function plain(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}
