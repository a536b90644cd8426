/** The grammar of `listeners[].tunnel`: what a proxy lets its clients through to. */
import { BlockList, isIP } from 'node:net';
import { isHost } from '../oci/name.ts';

export interface TunnelRule {
  readonly port: number;
  /** A name, `*` for any, or `*.domain` for what is below it; undefined: the rule is of addresses. */
  readonly host: string | undefined;
  /** The addresses that may be reached, public or not. */
  readonly addresses: BlockList | undefined;
}

const HTTPS = 443;
/** `[::1]`, `[fd00::]/8`: brackets, since a port may follow. Plain ones are taken where there is no port. */
const RULE = /^(\[[0-9a-f:.]+\]|[^:[\]/]+)(\/\d{1,3})?(?::(\d{1,5}))?$/;

/** Undefined where it is no such rule. */
export function parseTunnelRule(word: string): TunnelRule | undefined {
  const [, subject = '', prefix, port = String(HTTPS)] = RULE.exec(isIP(word.split('/')[0] ?? '') === 6 ? word.replace(/^[^/]+/, '[$&]') : word) ?? [];
  if (subject === '' || Number(port) < 1 || Number(port) > 65_535) return undefined;
  const bare = subject.replace(/^\[|\]$/g, '');
  if (isIP(bare) !== 0) {
    const addresses = blockOf(bare, prefix?.slice(1));
    return addresses && { port: Number(port), host: undefined, addresses };
  }
  const domain = subject.replace(/^\*\./, '');
  const isPattern = subject === '*' || (isHost(domain) && !/^[\d.]+$/.test(domain) && !domain.startsWith('['));
  return prefix === undefined && isPattern ? { port: Number(port), host: subject, addresses: undefined } : undefined;
}

function blockOf(address: string, prefix: string | undefined): BlockList | undefined {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  const block = new BlockList();
  if (prefix !== undefined && Number(prefix) > (family === 'ipv4' ? 32 : 128)) return undefined;
  if (prefix === undefined) block.addAddress(address, family);
  else block.addSubnet(address, Number(prefix), family);
  return block;
}
