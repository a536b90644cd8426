import { networkInterfaces } from 'node:os';
import { isIP } from 'node:net';
import { describe, expect, test } from 'vitest';
import { parseAuthority } from './authority.ts';
import { createPermission } from './permission.ts';
import { isPublic, undressed } from './public-address.ts';

/** Names, and where whoever owns them points them. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  'auth.example.org': ['93.184.216.34', '2606:2800:220:1::1'],
  'example.org': ['93.184.216.34'],
  'evil.example.org': ['127.0.0.1'],
  'metadata.example.org': ['169.254.169.254', '::ffff:169.254.169.254', 'fe80::1'],
  'mixed.example.org': ['10.0.0.7', '93.184.216.34'],
  'inner.example.org': ['10.0.0.7'],
};

async function outcome(rules: readonly string[], to: string): Promise<unknown> {
  const permit = createPermission(rules, async (host) => {
    const found = NAMES[host];
    if (found === undefined) throw new Error('ENOTFOUND');
    return found.map((address) => ({ address, family: isIP(address) }));
  });
  const permission = await permit(parseAuthority(to) ?? { host: '', port: 0 });
  return 'reason' in permission ? permission.status : permission.addresses.map(({ address }) => address);
}

describe('a tunnel leads', () => {
  test.each<[rules: string[], to: string, expected: unknown]>([
    [[], 'auth.example.org:443', 403],
    [['auth.example.org'], 'auth.example.org:443', NAMES['auth.example.org']],
    [['auth.example.org'], 'auth.example.org:8443', 403],
    [['auth.example.org:8443'], 'auth.example.org:8443', NAMES['auth.example.org']],
    [['auth.example.org:8443'], 'auth.example.org:443', 403],
    [['*.example.org'], 'auth.example.org:443', NAMES['auth.example.org']],
    [['*.example.org'], 'example.org:443', 403],
    [['*.ample.org'], 'auth.example.org:443', 403],
    [['*'], 'example.org:443', NAMES['example.org']],
    [['*'], '93.184.216.34:443', ['93.184.216.34']],
    [['*'], 'unknown.example.org:443', 502],
    // what is not public
    [['*'], 'evil.example.org:443', 403],
    [['evil.example.org'], 'evil.example.org:443', 403],
    [['*'], 'metadata.example.org:443', 403],
    [['*'], 'mixed.example.org:443', ['93.184.216.34']],
    [['*'], '127.0.0.1:443', 403],
    [['*'], '[::1]:443', 403],
    [['*'], '[::ffff:127.0.0.1]:443', 403],
    [['*'], '[::ffff:7f00:1]:443', 403],
    [['*'], '169.254.169.254:443', 403],
    // unless an address or a network has it
    [['10.0.0.7'], '10.0.0.7:443', ['10.0.0.7']],
    [['10.0.0.0/8'], '10.0.0.7:443', ['10.0.0.7']],
    [['10.0.0.0/8'], '[::ffff:10.0.0.7]:443', ['::ffff:10.0.0.7']],
    [['10.0.0.0/8'], '10.0.0.7:80', 403],
    [['10.0.0.0/8'], 'inner.example.org:443', 403],
    [['inner.example.org', '10.0.0.0/8'], 'inner.example.org:443', ['10.0.0.7']],
    [['inner.example.org', '10.0.0.0/8:80'], 'inner.example.org:443', 403],
    [['inner.example.org', '10.0.0.8'], 'inner.example.org:443', 403],
    [['[::1]:8443'], '[::1]:8443', ['::1']],
  ])('with %j to %s: %j', async (rules, to, expected) => expect(await outcome(rules, to)).toEqual(expected));
});

describe('an address', () => {
  test.each(['93.184.216.34', '172.32.0.1', '11.0.0.1', '2606:2800:220:1::1', '::ffff:93.184.216.34'])('%s is public', (address) => expect(isPublic(address)).toBe(true));

  test.each(['0.0.0.0', '10.1.2.3', '100.64.0.1', '127.8.8.8', '169.254.169.254', '172.31.0.1', '192.168.1.1', '224.0.0.1', '255.255.255.255', '::', '::1', '::ffff:10.0.0.1', '::ffff:a00:1', '::10.0.0.1', '64:ff9b::a00:1', '2002:a00:1::', '2001::1', 'fc00::1', 'fe80::1%eth0', 'ff02::1', 'x'])(
    '%s is not',
    (address) => expect(isPublic(address)).toBe(false),
  );

  test('of this machine is not', () => {
    const own = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address));
    expect(own.length).toBeGreaterThan(0);
    expect(own.filter((address) => isPublic(address))).toEqual([]);
  });

  test('loses the clothes of IPv6', () => {
    expect(['::ffff:1.2.3.4', '::FFFF:0102:0304', '2001:DB8:0::1', '1.2.3.4'].map(undressed)).toEqual(['1.2.3.4', '1.2.3.4', '2001:db8::1', '1.2.3.4']);
  });
});
