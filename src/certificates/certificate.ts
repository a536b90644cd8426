/** X.509 certificates, written (RFC 5280 section 4): what an authority of our own and its servers need, and nothing else. */
import { createHash, createPublicKey, sign, type KeyObject, type X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { bits, integer, NULL, octets, oid, sequence, set, tagged, taggedSimple, time, TRUE, utf8, valuesOf } from './der.ts';

export interface CertificateFields {
  /** Up to 20 bytes, the first bit clear. */
  readonly serial: Buffer;
  /** A Name in DER: `commonName`, or `subjectOf` the authority. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Buffer[];
  /** The issuer's. EC or RSA. */
  readonly signingKey: KeyObject;
}

const SUBJECT_KEY_IDENTIFIER = '2.5.29.14';
const HASH = 'sha256';

/** As PEM. @throws Error where the signing key is of another kind */
export function certificate({ serial, issuer, subject, notBeforeMs, notAfterMs, publicKey, extensions, signingKey }: CertificateFields): string {
  const algorithm = signatureAlgorithm(signingKey);
  const toSign = sequence(
    tagged(0, integer(Buffer.from([2]))), // version 3
    integer(serial),
    algorithm,
    issuer,
    sequence(time(notBeforeMs), time(notAfterMs)),
    subject,
    spki(publicKey),
    tagged(3, sequence(...extensions)),
  );
  const der = sequence(toSign, algorithm, bits(sign(HASH, toSign, signingKey)));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

export function commonName(text: string): Buffer {
  return sequence(set(sequence(oid('2.5.4.3'), utf8(text))));
}

/** Byte for byte as the certificate has it: an issuer's name must be the same in what it issues. */
export function subjectOf({ raw }: X509Certificate): Buffer {
  // After version, serial, signature, issuer, validity. An authority's certificate is of version 3, which is written.
  const subject = [...valuesOf(toBeSigned(raw))][5];
  if (subject === undefined) throw new Error('a certificate has no subject');
  return subject.whole;
}

/** What others call the key by; RFC 5280 section 4.2.1.2 (1). */
export function keyIdentifier(publicKey: KeyObject): Buffer {
  const [, key] = [...valuesOf(contentOf(spki(publicKey)))];
  return createHash('sha1').update((key?.content ?? Buffer.alloc(0)).subarray(1)).digest();
}

/** The same as the certificate says it; undefined where it does not. */
export function statedKeyIdentifier({ raw }: X509Certificate): Buffer | undefined {
  const wrapped = [...valuesOf(toBeSigned(raw))].find(({ tag }) => tag === 0xa3);
  const extensions = wrapped === undefined ? [] : [...valuesOf(contentOf(wrapped.content))];
  for (const { content } of extensions) {
    const parts = [...valuesOf(content)];
    if (parts[0]?.whole.equals(oid(SUBJECT_KEY_IDENTIFIER)) === true) return contentOf(parts.at(-1)?.content ?? Buffer.alloc(0));
  }
  return undefined;
}

/** Each gives one extension. */
export const extension = {
  /** @param authority signs certificates of servers, and of no other authority; else it signs none */
  basicConstraints: (authority: boolean): Buffer => critical('2.5.29.19', authority ? sequence(TRUE, integer(Buffer.from([0]))) : sequence()),
  keyUsage: (usage: 'digitalSignature' | 'keyCertSign'): Buffer => critical('2.5.29.15', usage === 'digitalSignature' ? bits(Buffer.from([0x80]), 7) : bits(Buffer.from([0x06]), 1)), // with cRLSign
  serverOnly: (): Buffer => plain('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'))),
  /** @param host a name or an IP address */
  subjectAltName: (host: string): Buffer => plain('2.5.29.17', sequence(isIP(host) === 0 ? taggedSimple(2, Buffer.from(host)) : taggedSimple(7, addressBytes(host)))),
  subjectKeyIdentifier: (identifier: Buffer): Buffer => plain(SUBJECT_KEY_IDENTIFIER, octets(identifier)),
  authorityKeyIdentifier: (identifier: Buffer): Buffer => plain('2.5.29.35', sequence(taggedSimple(0, identifier))),
} as const;

function critical(id: string, content: Buffer): Buffer {
  return sequence(oid(id), TRUE, octets(content));
}

function plain(id: string, content: Buffer): Buffer {
  return sequence(oid(id), octets(content));
}

/** RFC 5758 section 3.2, RFC 4055 section 5. */
function signatureAlgorithm({ asymmetricKeyType }: KeyObject): Buffer {
  if (asymmetricKeyType === 'ec') return sequence(oid('1.2.840.10045.4.3.2'));
  if (asymmetricKeyType === 'rsa') return sequence(oid('1.2.840.113549.1.1.11'), NULL);
  throw new Error(`expected an EC or RSA key, got ${asymmetricKeyType ?? 'another'}`);
}

function spki(key: KeyObject): Buffer {
  return (key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'der' });
}

function toBeSigned(raw: Buffer): Buffer {
  const [first] = valuesOf(contentOf(raw));
  if (first === undefined) throw new Error('a certificate is empty');
  return first.content;
}

function contentOf(bytes: Buffer): Buffer {
  const [only] = valuesOf(bytes);
  return only?.content ?? Buffer.alloc(0);
}

/** 4 or 16 bytes. */
function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string | undefined): string[] => (text === undefined || text === '' ? [] : text.split(':'));
  const [before, after] = [groups(head), groups(tail)];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return Buffer.from([...before, ...zeros, ...after].map((group) => group.padStart(4, '0')).join(''), 'hex');
}
