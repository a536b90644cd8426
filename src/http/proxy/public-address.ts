/** Which addresses are of the public Internet: a proxy that leads anywhere else lets strangers into the network that it stands in. */
import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

/** https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast. */
const SPECIAL_IPV4 = ['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/3'];
/** Global unicast; https://www.iana.org/assignments/iana-ipv6-special-registry has what is special in it: IETF, documentation, 6to4 (which leads to any IPv4 address). */
const GLOBAL_IPV6 = '2000::/3';
const SPECIAL_IPV6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'];

const special = blockOf(SPECIAL_IPV4, 'ipv4');
const global6 = blockOf([GLOBAL_IPV6], 'ipv6');
const special6 = blockOf(SPECIAL_IPV6, 'ipv6');

/** Of this machine none is: what listens here may be meant for those on it. */
export function isPublic(address: string): boolean {
  const plain = undressed(address);
  if (ownAddresses().has(plain)) return false;
  if (isIP(plain) === 4) return !special.check(plain, 'ipv4');
  return isIP(plain) === 6 && global6.check(plain, 'ipv6') && !special6.check(plain, 'ipv6');
}

/** IPv4 in IPv6's clothes without them, however it is spelled; others as the kernel spells them. */
export function undressed(address: string): string {
  if (isIP(address) !== 6) return address;
  const spelled = new URL(`http://[${address.replace(/%.*/, '')}]`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(spelled) ?? [];
  if (high === undefined || low === undefined) return spelled;
  const bytes = [high, low].flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]);
  return bytes.join('.');
}

function ownAddresses(): ReadonlySet<string> {
  return new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => undressed(address))));
}

function blockOf(networks: readonly string[], family: 'ipv4' | 'ipv6'): BlockList {
  const block = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    block.addSubnet(address, Number(prefix), family);
  }
  return block;
}
