/** The grammar of a listener's address: `host:port`, where an IPv6 host stands in brackets. */
import { isIP, isIPv6 } from 'node:net';
import { isHost } from '../oci/name.ts';

export interface Bind {
  readonly host: string;
  readonly port: number;
}

const ADDRESS = /^(?:\[([^[\]]+)\]|([^[\]:]+)):(\d{1,5})$/;

/** What an address means for `listen`; `localhost` is both loopback addresses. Undefined where it is no address. */
export function parseAddress(text: string): readonly Bind[] | undefined {
  const match = ADDRESS.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3]);
  if (port > 65_535) return undefined;
  const [, literal, plain] = match;
  if (literal !== undefined) return isIPv6(literal) ? [{ host: literal, port }] : undefined;
  if (plain === 'localhost') return ['127.0.0.1', '::1'].map((host) => ({ host, port }));
  // Four numbers that are no IPv4 address would otherwise pass as a host name.
  if (plain === undefined || !isHost(plain) || (/^[\d.]+$/.test(plain) && isIP(plain) === 0)) return undefined;
  return [{ host: plain, port }];
}

/** Can only this machine reach what listens on `host`? A host name other than `localhost` may mean anything. */
export function isLoopback(host: string): boolean {
  return host === '::1' || host === 'localhost' || (isIP(host) === 4 && host.startsWith('127.')) || /^::ffff:127\./i.test(host);
}
