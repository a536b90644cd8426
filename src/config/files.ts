/** The files that a configuration names, read once at the start. Errors say what is wrong in words and never repeat what a file holds. */
import { X509Certificate } from 'node:crypto';
import { accessSync, constants, readFileSync, statSync } from 'node:fs';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
};
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** @throws Error */
export function readTextFile(path: string): string {
  return inWords(path, () => readFileSync(path, 'utf8'));
}

/** The text of a file without one trailing newline. @throws Error */
export function readSecretFile(path: string): string {
  const text = readTextFile(path).replace(/\r?\n$/, '');
  if (text === '') throw new Error(`${path} is empty`);
  return text;
}

/** @returns `pem` itself. @throws Error where it holds no certificate, or one that cannot be read */
export function checkedCertificates(pem: string, where: string): string {
  const certificates = pem.match(CERTIFICATE) ?? [];
  if (certificates.length === 0) throw new Error(`expected certificates as PEM, but ${where} holds none`);
  for (const [i, certificate] of certificates.entries()) {
    try {
      new X509Certificate(certificate);
    } catch (cause) {
      throw new Error(`certificate ${i + 1} in ${where} cannot be read`, { cause });
    }
  }
  return pem;
}

/** @throws Error where `path` is no file that can be read */
export function checkReadable(path: string): void {
  inWords(path, () => {
    accessSync(path, constants.R_OK);
    if (statSync(path).isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' });
  });
}

function inWords<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException; // node:fs throws nothing else
    throw new Error(`${path} cannot be read: ${REASONS[code ?? ''] ?? message}`, { cause });
  }
}
