/**
 * The authority whose certificates the intercepting proxy shows: two files, made on first start unless an operator gave
 * their own. Whoever has the key can pose as any server to those who trust it: it is for its owner only and never in the storage.
 */
import { createPrivateKey, generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { exists, makeFileOnce } from '../config/made-file.ts';
import { certificate, commonName, extension, keyIdentifier, statedKeyIdentifier, subjectOf } from './certificate.ts';

export interface AuthorityFiles {
  /** PEM; the certificate that signs comes first. */
  readonly certFile: string;
  /** PEM, EC or RSA. */
  readonly keyFile: string;
}

export interface Authority {
  readonly certificate: X509Certificate;
  /** What clients are to trust, as PEM: all that is in the file. */
  readonly pem: string;
  /** A certificate for one server, valid from now on. @param host a name or an IP address, without a port */
  issue(host: string): Leaf;
}

export interface Leaf {
  /** PEM, with whatever stands between it and a root. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  readonly notAfterMs: number;
}

export interface AuthorityDeps {
  readonly nowMs: () => number;
  readonly randomBytes: (size: number) => Buffer;
  readonly warn: (event: string, fields: Record<string, unknown>) => void;
}

const DAY_MS = 86_400_000;
const AUTHORITY_MS = 3650 * DAY_MS;
const LEAF_MS = 90 * DAY_MS;
/** Clocks of clients may be behind. */
const BEFORE_MS = DAY_MS;
const SERIAL_BYTES = 16;
const KEY_WHAT = "key file of the proxy's authority";
const CERT_WHAT = "certificate of the proxy's authority";
const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----\n?/g;

/** Opens the two files, making them where there are none. @throws Error naming the file */
export async function openAuthority({ certFile, keyFile }: AuthorityFiles, deps: AuthorityDeps): Promise<Authority> {
  const { nowMs, randomBytes } = deps;
  // The key first: whoever finds it without a certificate makes one for it, and the first one linked is that of all.
  if (!(await exists(keyFile)) && (await exists(certFile)) && !(await exists(keyFile))) {
    throw new Error(`${KEY_WHAT} ${keyFile} is not there, but its certificate ${certFile} is: expected both or neither`);
  }
  await makeFileOnce({ path: keyFile, what: KEY_WHAT, randomBytes, make: newKey });
  const key = await readKey(keyFile, deps.warn);
  await makeFileOnce({ path: certFile, what: CERT_WHAT, randomBytes, make: () => selfSigned(key, nowMs(), serial(randomBytes)) });
  const { pem, chain } = await readCertificates(certFile);
  const [own] = chain as [X509Certificate]; // at least one was found
  if (!own.checkPrivateKey(key)) throw new Error(`${CERT_WHAT} ${certFile} is for another key than that in ${keyFile}`);
  if (!own.ca) throw new Error(`${CERT_WHAT} ${certFile} is of no authority: expected CA:TRUE in its basic constraints`);
  if (Date.parse(own.validTo) <= nowMs()) deps.warn("the proxy's authority is no longer valid", { file: certFile, validTo: own.validTo });
  const between = chain.filter((one) => one.issuer !== one.subject).map((one) => one.toString());
  const issuer = subjectOf(own);
  const stated = statedKeyIdentifier(own);

  return {
    certificate: own,
    pem,
    issue(host) {
      const { publicKey, privateKey } = newPair();
      const now = nowMs();
      const notAfterMs = now + LEAF_MS;
      const cert = certificate({
        serial: serial(randomBytes),
        issuer,
        subject: commonName(host.slice(0, MAX_COMMON_NAME)),
        notBeforeMs: now - BEFORE_MS,
        notAfterMs,
        publicKey,
        signingKey: key,
        extensions: [
          extension.basicConstraints(false),
          extension.keyUsage('digitalSignature'),
          extension.serverOnly(),
          extension.subjectAltName(host),
          extension.subjectKeyIdentifier(keyIdentifier(publicKey)),
          ...(stated === undefined ? [] : [extension.authorityKeyIdentifier(stated)]),
        ],
      });
      return { cert: [cert, ...between].join(''), key: pemOf(privateKey), notAfterMs };
    },
  };
}

/** RFC 5280 appendix A.1, ub-common-name. */
const MAX_COMMON_NAME = 64;

function selfSigned(key: KeyObject, now: number, number: Buffer): string {
  const identifier = keyIdentifier(key);
  const name = commonName(`Umbra proxy CA ${identifier.toString('hex', 0, 4)}`);
  return certificate({
    serial: number,
    issuer: name,
    subject: name,
    notBeforeMs: now - BEFORE_MS,
    notAfterMs: now + AUTHORITY_MS,
    publicKey: key,
    signingKey: key,
    extensions: [extension.basicConstraints(true), extension.keyUsage('keyCertSign'), extension.serverOnly(), extension.subjectKeyIdentifier(identifier)],
  });
}

function newPair(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function newKey(): string {
  return pemOf(newPair().privateKey);
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string; // as the format says
}

/** Positive, and not zero. */
function serial(randomBytes: (size: number) => Buffer): Buffer {
  const bytes = Buffer.from(randomBytes(SERIAL_BYTES));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

async function readKey(path: string, warn: AuthorityDeps['warn']): Promise<KeyObject> {
  const text = await read(path, KEY_WHAT);
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0) warn(`${KEY_WHAT} can be read by other users of this machine: expected mode 600`, { file: path, mode: (mode & 0o777).toString(8) });
  try {
    return createPrivateKey(text);
  } catch {
    throw new Error(`${KEY_WHAT} ${path} cannot be used: expected a private key as PEM, without a passphrase`); // no cause: nothing of a key belongs into messages
  }
}

async function readCertificates(path: string): Promise<{ readonly pem: string; readonly chain: readonly X509Certificate[] }> {
  const found = (await read(path, CERT_WHAT)).match(CERTIFICATES) ?? [];
  if (found.length === 0) throw new Error(`${CERT_WHAT} ${path} cannot be used: expected certificates as PEM`);
  try {
    return { pem: found.map((one) => `${one.trimEnd()}\n`).join(''), chain: found.map((one) => new X509Certificate(one)) };
  } catch (cause) {
    throw new Error(`${CERT_WHAT} ${path} cannot be used`, { cause });
  }
}

async function read(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new Error(`${what} ${path} cannot be read: ${error instanceof Error ? error.message : 'unknown reason'}`, { cause: error });
  }
}
