/** Whether a client of the proxy is let through to a host that is no upstream, and to which of its addresses. */
import type { LookupAddress } from 'node:dns';
import { isIP } from 'node:net';
import { parseTunnelRule } from '../../config/tunnel-rule.ts';
import { spellAuthority, type Authority } from './authority.ts';
import { isPublic, undressed } from './public-address.ts';

export type Lookup = (host: string) => Promise<readonly LookupAddress[]>;

/** Where the tunnel may lead, in the order to try; or why it may lead nowhere, in words for the client. */
export type Permission = { readonly addresses: readonly LookupAddress[] } | { readonly status: 403 | 502; readonly reason: string };

/** @param words as in `listeners[].tunnel` */
export function createPermission(words: readonly string[], lookup: Lookup): (to: Authority) => Promise<Permission> {
  const rules = words.flatMap((word) => parseTunnelRule(word) ?? []); // the configuration checked them

  function isNamed(address: string, port: number): boolean {
    const plain = undressed(address);
    return rules.some((rule) => rule.port === port && rule.addresses?.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4') === true);
  }

  function names({ host, port }: Authority): boolean {
    return rules.some((rule) => rule.port === port && (rule.host === '*' || (isIP(host) === 0 && hostMatches(rule.host, host))));
  }

  return async (to) => {
    const spelled = spellAuthority(to);
    const literal = isIP(to.host);
    if (!names(to) && !(literal !== 0 && isNamed(to.host, to.port))) {
      return { status: 403, reason: `${spelled} is no upstream of this proxy and is not let through: listeners[].tunnel names what is` };
    }
    let found: readonly LookupAddress[];
    try {
      found = literal === 0 ? await lookup(to.host) : [{ address: to.host, family: literal }];
    } catch {
      return { status: 502, reason: `${to.host} cannot be resolved` };
    }
    // The address that is connected to is looked at, and not the name: whoever has the name may point it anywhere.
    const addresses = found.filter(({ address }) => isNamed(address, to.port) || isPublic(address));
    if (addresses.length > 0) return { addresses };
    return { status: 403, reason: `${spelled} is at no public address, and listeners[].tunnel names none of its own` };
  };
}

function hostMatches(pattern: string | undefined, host: string): boolean {
  if (pattern === undefined) return false;
  return pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : host === pattern;
}
