/** A certificate authority of our own and the leaf certificates it issues, made by openssl. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './command.ts';

export interface Leaf {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Authority {
  readonly certFile: string;
  /** The authority's certificate. */
  readonly pem: string;
  /** A server certificate for localhost, 127.0.0.1, ::1 and `more` (`DNS:…`, `IP:…`). `name` is unique: the files are called after it. */
  issue(name: string, more?: readonly string[]): Promise<Leaf>;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc', '-days', '7', '-batch'];

/** `dir` exists; the authority's and all leaves' files go there. */
export async function makeAuthority(dir: string): Promise<Authority> {
  const certFile = join(dir, 'ca.pem');
  const keyFile = join(dir, 'ca.key');
  await run('openssl', ['req', '-x509', ...KEY, '-subj', '/CN=a test authority', '-out', certFile, '-keyout', keyFile]);
  return {
    certFile,
    pem: await readFile(certFile, 'utf8'),
    async issue(name, more = []) {
      const leaf = { certFile: join(dir, `${name}.pem`), keyFile: join(dir, `${name}.key`) };
      await run('openssl', [
        'req',
        '-x509',
        ...KEY,
        '-CA',
        certFile,
        '-CAkey',
        keyFile,
        '-subj',
        `/CN=${name}`,
        '-addext',
        `subjectAltName=${['DNS:localhost', 'IP:127.0.0.1', 'IP:::1', ...more].join(',')}`,
        '-addext',
        'basicConstraints=critical,CA:FALSE',
        '-out',
        leaf.certFile,
        '-keyout',
        leaf.keyFile,
      ]);
      return leaf;
    },
  };
}
