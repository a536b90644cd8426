import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { chmod, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openAuthority, type Authority } from './authority.ts';

const DAY_MS = 86_400_000;

let folder: string;
let warned: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-authority-'));
  warned = [];
});
afterEach(() => rm(folder, { recursive: true }));

const file = (name: string): string => join(folder, name);
const open = (nowMs = Date.now(), files = { certFile: file('ca.pem'), keyFile: file('ca.key') }): Promise<Authority> =>
  openAuthority(files, { nowMs: () => nowMs, randomBytes, warn: (event) => void warned.push(event) });
const openssl = (...args: string[]): string => execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** As OpenSSL judges a server's certificate, to the letter of RFC 5280. */
async function verify({ cert }: { readonly cert: string }, root: string, ...how: string[]): Promise<string> {
  const [leaf = '', ...between] = cert.match(/-----BEGIN[^]*?-----END CERTIFICATE-----\n/g) ?? [];
  await writeFile(file('leaf.pem'), leaf);
  await writeFile(file('between.pem'), between.join(''));
  return openssl('verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', root, ...(between.length === 0 ? [] : ['-untrusted', 'between.pem']), ...how, 'leaf.pem');
}

describe('the authority', () => {
  test('is made on first start, for the owner only, and found by the next', async () => {
    const first = await open();
    for (const name of ['ca.pem', 'ca.key']) expect((await stat(file(name))).mode & 0o777).toBe(0o600);
    const again = await open();
    expect(again.pem).toBe(first.pem);
    expect(first.pem).toBe(await readFile(file('ca.pem'), 'utf8'));
    expect(warned).toEqual([]);
  });

  test('is one and the same for many that start at once, and leaves nothing else behind', async () => {
    const all = await Promise.all(Array.from({ length: 12 }, () => open()));
    expect(new Set(all.map(({ pem }) => pem)).size).toBe(1);
    expect((await readdir(folder)).toSorted()).toEqual(['ca.key', 'ca.pem']);
    for (const one of all) expect(await verify(one.issue('quay.io'), 'ca.pem')).toBe('leaf.pem: OK\n');
  });

  test('that lost its certificate alone makes another for the same key', async () => {
    const { certificate } = await open();
    await rm(file('ca.pem'));
    expect((await open()).certificate.publicKey.equals(certificate.publicKey)).toBe(true);
  });

  test('may sign for servers and for no other authority, for ten years', async () => {
    const { certificate } = await open();
    const { ca, subject, issuer, extKeyUsage } = certificate as X509Certificate & { readonly extKeyUsage?: readonly string[] };
    expect({ ca, subject, issuer }).toEqual({ ca: true, subject: expect.stringMatching(/^CN=Umbra proxy CA [0-9a-f]{8}$/), issuer: subject });
    expect(extKeyUsage ?? certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(openssl('x509', '-in', 'ca.pem', '-noout', '-text')).toMatch(/CA:TRUE, pathlen:0/);
    expect(certificate.validToDate.getTime()).toBeGreaterThan(Date.now() + 3640 * DAY_MS);
  });

  test.each([
    ['a name', 'registry-1.docker.io', '-verify_hostname'],
    ['an IPv4 address', '192.0.2.10', '-verify_ip'],
    ['an IPv6 address', '2001:db8::5:0:1', '-verify_ip'],
  ])('issues for %s, and for nothing else', async (_, host, how) => {
    const authority = await open();
    const leaf = authority.issue(host);
    expect(await verify(leaf, 'ca.pem', how, host)).toBe('leaf.pem: OK\n');
    await expect(verify(leaf, 'ca.pem', '-verify_hostname', 'ghcr.io')).rejects.toThrow(/hostname mismatch|IP address mismatch/i);
    expect(new X509Certificate(leaf.cert).ca).toBe(false);
    expect(() => createSecureContext(leaf)).not.toThrow();
  });

  test('issues for 90 days, with a serial and a key of its own each time', async () => {
    const authority = await open();
    const [one, other] = [authority.issue('quay.io'), authority.issue('quay.io')];
    expect(new X509Certificate(one.cert).serialNumber).not.toBe(new X509Certificate(other.cert).serialNumber);
    expect(one.key).not.toBe(other.key);
    expect(new X509Certificate(one.cert).validToDate.getTime()).toBe(Math.floor(one.notAfterMs / 1000) * 1000);
    expect(Math.round((one.notAfterMs - Date.now()) / DAY_MS)).toBe(90);
  });
});

describe("an operator's own authority", () => {
  /** Makes `name.pem` and `name.key`; `issuer` signs it, where one is given. */
  const make = (name: string, key: readonly string[], issuer?: string): void =>
    void openssl('req', '-x509', '-batch', '-noenc', '-days', '30', '-subj', `/O=Ünïcode ltd/CN=${name}`, '-utf8', ...key, '-keyout', `${name}.key`, '-out', `${name}.pem`, '-addext', 'keyUsage=critical,keyCertSign',
      ...(issuer === undefined ? [] : ['-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`]));
  const RSA = ['-newkey', 'rsa:2048'];
  const P384 = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'];

  test.each([
    ['RSA', RSA],
    ['P-384', P384],
  ])('with a key of %s signs what is issued', async (_, key) => {
    make('own', key);
    await chmod(file('own.key'), 0o600);
    const authority = await open(Date.now(), { certFile: file('own.pem'), keyFile: file('own.key') });
    expect(await verify(authority.issue('quay.io'), 'own.pem', '-verify_hostname', 'quay.io')).toBe('leaf.pem: OK\n');
    expect(warned).toEqual([]);
  });

  test('below another is shown with what stands between', async () => {
    make('root', P384);
    make('own', RSA, 'root');
    await writeFile(file('chain.pem'), (await readFile(file('own.pem'), 'utf8')) + (await readFile(file('root.pem'), 'utf8')));
    const authority = await open(Date.now(), { certFile: file('chain.pem'), keyFile: file('own.key') });
    const leaf = authority.issue('quay.io');
    expect(leaf.cert.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(await verify(leaf, 'root.pem')).toBe('leaf.pem: OK\n');
  });

  test.each([
    ['a key without its certificate’s', async () => rm(file('own.key')), /own\.key is not there, but its certificate .*own\.pem is/],
    ['the key of another', async () => (make('other', P384), rename(file('other.key'), file('own.key'))), /own\.pem is for another key than that in .*own\.key/],
    ['the certificate of a server', async () => openssl('req', '-x509', '-batch', '-days', '1', '-subj', '/CN=x', '-key', 'own.key', '-out', 'own.pem', '-addext', 'basicConstraints=critical,CA:FALSE'), /is of no authority/],
    ['no certificate', async () => writeFile(file('own.pem'), 'x'), /own\.pem cannot be used: expected certificates as PEM/],
    ['no key', async () => writeFile(file('own.key'), 'secret text'), /own\.key cannot be used: expected a private key as PEM, without a passphrase$/],
    ['a key that signs otherwise', async () => {
      const { privateKey } = generateKeyPairSync('ed25519');
      await writeFile(file('own.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
      await rm(file('own.pem'));
    }, /expected an EC or RSA key, got ed25519/],
  ])('with %s is refused', async (_, spoil, message) => {
    make('own', P384);
    await spoil();
    const refused = open(Date.now(), { certFile: file('own.pem'), keyFile: file('own.key') });
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.not.toThrow(/secret text/);
  });

  test('is spoken of when it can be read by others, and when its time is over', async () => {
    make('own', P384);
    await chmod(file('own.key'), 0o644);
    await open(Date.now() + 31 * DAY_MS, { certFile: file('own.pem'), keyFile: file('own.key') });
    expect(warned).toEqual([expect.stringMatching(/can be read by other users/), expect.stringMatching(/no longer valid/)]);
  });
});
