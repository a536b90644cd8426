/** A store in the words of the file, with nothing left out. */
import type { OpenStackLogin, Qualified, Reference } from '../openstack/auth.ts';
import { Secret, type DiskConfig, type Redirect, type StorageConfig } from './config.ts';
import type { Words } from './explain.ts';
import { formatSize } from './quantity.ts';

export function storageInWords(storage: StorageConfig): Words {
  switch (storage.driver) {
    case 'memory':
      return { driver: 'memory' };
    case 'filesystem':
      return { driver: 'filesystem', root: storage.root, maxBytes: storage.maxBytes === undefined ? undefined : formatSize(storage.maxBytes) };
    case 'swift': {
      const { driver, container, account, prefix, region, interface: side, auth, segmentBytes, tempUrlKey, redirect, ca, insecure, disk } = storage;
      return {
        driver, container, account, prefix: prefixInWords(prefix), region, interface: side, auth: authInWords(auth), segmentSize: formatSize(segmentBytes),
        tempUrlKey, redirect: redirectInWords(redirect), ca, insecure, disk: diskInWords(disk),
      };
    }
    case 's3': {
      const { driver, endpoint, region, bucket, prefix, credentials, pathStyle, redirect, claims, ca, insecure, disk } = storage;
      return {
        driver, endpoint, region, bucket, prefix: prefixInWords(prefix), accessKeyId: credentials?.accessKeyId, secretAccessKey: credentials?.secretAccessKey,
        pathStyle, redirect: redirectInWords(redirect), claims, ca, insecure, disk: diskInWords(disk),
      };
    }
  }
}

function authInWords(auth: OpenStackLogin): Words {
  if (auth.kind === 'file') return { credentialFile: auth.path };
  const { url } = auth;
  switch (auth.kind) {
    case 'password':
      return { url, ...userInWords(auth.user), password: secretInWords(auth.password), ...projectInWords(auth.project) };
    case 'application-credential': {
      const secret = { applicationCredentialSecret: secretInWords(auth.secret) };
      const { credential } = auth;
      return 'id' in credential
        ? { url, applicationCredentialId: credential.id, ...secret }
        : { url, applicationCredentialName: credential.name, ...userInWords(credential.user), ...secret };
    }
    case 'trust':
      return { url, ...userInWords(auth.user), password: secretInWords(auth.password), trustId: secretInWords(auth.trustId) };
    case 'tempauth':
      return { url, username: auth.username, password: secretInWords(auth.password) };
  }
}

function userInWords(user: Qualified): Words {
  return 'id' in user ? { userId: user.id } : { username: user.name, ...domainInWords(user.domain, 'userDomain') };
}

function projectInWords(project: Qualified): Words {
  return 'id' in project ? { projectId: project.id } : { project: project.name, ...domainInWords(project.domain, 'projectDomain') };
}

function domainInWords(domain: Reference, word: 'userDomain' | 'projectDomain'): Words {
  return 'id' in domain ? { [`${word}Id`]: domain.id } : { [word]: domain.name };
}

function secretInWords(secret: { reveal(): string }): Secret {
  return new Secret(secret.reveal());
}

function prefixInWords(prefix: string): string | undefined {
  return prefix === '' ? undefined : prefix;
}

function redirectInWords(redirect: Redirect): boolean | readonly string[] {
  return typeof redirect === 'object' ? redirect : redirect === 'always';
}

function diskInWords(disk: DiskConfig | undefined): Words | undefined {
  return disk && { root: disk.root, maxBytes: formatSize(disk.maxBytes) };
}
