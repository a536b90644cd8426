/**
 * Which proxy the environment names for a URL: HTTPS_PROXY, HTTP_PROXY and NO_PROXY with the meaning that Go gives
 * them, because that is what docker, containerd and podman on the same machine go by.
 */
import { BlockList, isIP } from 'node:net';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The proxy's URL, undefined for a direct connection. Loopback is never reached through a proxy. */
export function proxyFor(url: URL, env: Environment): string | undefined {
  const proxy = variable(env, url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY');
  if (proxy === undefined) return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  if (host === 'localhost' || isLoopback(host)) return undefined;
  if (exceptions(env).some((entry) => matches(entry, host, port))) return undefined;
  return proxy.includes('://') ? proxy : `http://${proxy}`;
}

/** Lower case wins, as in curl; an empty variable is an unset one. */
function variable(env: Environment, name: string): string | undefined {
  return env[name.toLowerCase()] || env[name] || undefined;
}

function exceptions(env: Environment): readonly string[] {
  return (variable(env, 'NO_PROXY') ?? '').toLowerCase().split(/[\s,]+/).filter((entry) => entry !== '');
}

/** An entry is `*`, a CIDR block, an address, or a domain that covers its subdomains; the last two take a port. */
function matches(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  if (entry.includes('/')) return isIP(host) !== 0 && inBlock(entry, host);
  const [, name, entryPort] = /^(.*?)(?::(\d+))?$/.exec(isIP(entry) === 6 ? `[${entry}]` : entry) ?? [];
  if (name === undefined || (entryPort !== undefined && entryPort !== port)) return false;
  const domain = name.replace(/^\*?\./, '').replace(/^\[|\]$/g, '');
  return host === domain || (isIP(host) === 0 && host.endsWith(`.${domain}`));
}

function inBlock(entry: string, address: string): boolean {
  const [network = '', prefix = ''] = entry.split('/');
  const version = isIP(network);
  const bits = Number(prefix);
  if (version === 0 || !/^\d{1,3}$/.test(prefix) || bits > (version === 4 ? 32 : 128)) return false;
  const block = new BlockList();
  block.addSubnet(network, bits, version === 4 ? 'ipv4' : 'ipv6');
  return block.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
}

function isLoopback(host: string): boolean {
  return isIP(host) !== 0 && (inBlock('127.0.0.0/8', host) || host === '::1');
}
