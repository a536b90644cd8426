/**
 * What a node has of the cluster service, in a folder of its own: who it is there (`node.json`), its credential for the
 * store (`credential.json`, which `storage.auth.credentialFile` names) and who may push (`users.htpasswd`, and `push-user.json`
 * for people, who have to know the password). For its owner alone; each file is replaced whole, so that readers in other processes see an old one or a new one.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { parseCredential, type Credential, type PushUser } from '../bootstrap-wire.ts';
import { AUTH_WORDS } from '../openstack/auth-words.ts';

export interface NodeIdentity {
  readonly id: string;
  readonly key: string;
  readonly renewSeconds: number;
  /** Of the credential beside it. */
  readonly generation: number;
  /** SHA-256 in hex of the token that was exchanged for this: another one means another cluster, or a new beginning. '': none yet, and so nobody knows of it. */
  readonly tokenHash: string;
  /** What the node was configured for when it got the credential; undefined: that was not known. */
  readonly storage?: string | undefined;
}

export interface NodeState {
  readonly folder: string;
  /** Undefined: there is none, or none that can be used. */
  identity(): Promise<NodeIdentity | undefined>;
  /** Whether there is one that can be used: what a bad disk made of it is got anew. */
  hasCredential(): Promise<boolean>;
  /** Makes the folder, and a file of those who may push that is empty; takes away what was half written when a process was killed. @throws Error naming it */
  prepare(): Promise<void>;
  putIdentity(identity: NodeIdentity): Promise<void>;
  putCredential(credential: Credential, pushUser: PushUser | undefined): Promise<void>;
}

export interface NodeStateDeps {
  /** bcrypt. */
  readonly hashPassword: (password: string) => Promise<string>;
}

const DRAFT = /^[\w-]+\.\w+\.[0-9a-f]{16}\.tmp$/;

export function nodeState(folder: string, { hashPassword }: NodeStateDeps): NodeState {
  const identityFile = join(folder, 'node.json');
  const credentialFile = join(folder, 'credential.json');
  const usersFile = join(folder, 'users.htpasswd');
  const pushUserFile = join(folder, 'push-user.json');
  return {
    folder,
    async identity() {
      return identityOf(await readFile(identityFile, 'utf8').catch(() => ''));
    },
    hasCredential: async () => isCredential(await readFile(credentialFile, 'utf8').catch(() => '')),
    async prepare() {
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        await chmod(folder, 0o700).catch(() => undefined); // one that systemd made may not be ours to change
        for (const name of await readdir(folder)) if (DRAFT.test(name)) await rm(join(folder, name), { force: true });
        if (!(await isThere(usersFile))) await replace(usersFile, '');
      } catch (cause) {
        throw new Error(`node.state, ${folder}, cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
      }
    },
    putIdentity: async (identity) => await replace(identityFile, json(identity)),
    async putCredential(credential, pushUser) {
      const users = pushUser === undefined ? '' : `${pushUser.name}:${await hashPassword(pushUser.password)}\n`;
      if (users !== '' || (await readFile(usersFile, 'utf8').catch(() => '')) !== '') await replace(usersFile, users);
      if (pushUser === undefined) await rm(pushUserFile, { force: true });
      else await replace(pushUserFile, json(pushUser));
      // The last: where it is, the node has what it needs.
      await replace(credentialFile, json(known(credential)));
    },
  };
}

/** What a service of a later version says besides is nothing that this one could log in by, and whoever reads the file would refuse it. */
function known(credential: Credential): Credential {
  return Object.fromEntries(Object.entries(credential).filter(([word]) => (AUTH_WORDS as readonly string[]).includes(word)));
}

function json(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function isCredential(text: string): boolean {
  try {
    parseCredential(text);
    return true;
  } catch {
    return false;
  }
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false);
}

async function replace(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomBytes(8).toString('hex')}.tmp`; // as DRAFT has it
  try {
    {
      await using file = await open(draft, 'wx', 0o600);
      await file.writeFile(text);
      await file.sync();
    }
    await rename(draft, path);
    await using folder = await open(join(path, '..'), 'r');
    await folder.sync();
  } catch (error) {
    await unlink(draft).catch(() => undefined);
    throw error;
  }
}

function identityOf(text: string): NodeIdentity | undefined {
  try {
    const value = JSON.parse(text) as Readonly<Record<string, unknown>> | null; // checked below
    const { id, key, renewSeconds, generation, tokenHash, storage } = value ?? {};
    if (typeof id !== 'string' || typeof key !== 'string' || typeof tokenHash !== 'string' || !Number.isSafeInteger(renewSeconds) || !Number.isSafeInteger(generation)) return undefined;
    return { id, key, tokenHash, renewSeconds: Number(renewSeconds), generation: Number(generation), storage: typeof storage === 'string' ? storage : undefined };
  } catch {
    return undefined;
  }
}
