/** What a credential's parts are called, and where its secrets are sealed. */
import { randomBytes } from 'node:crypto';
import { Secret } from '../../config/config.ts';
import type { KeystoneAuth } from '../../openstack/identity.ts';
import type { SealedSecrets, Writer } from '../database/sealed.ts';
import type { CredentialMode, RegistrySettings } from '../words.ts';

/** A cluster as its credential sees it. */
export interface Subject {
  readonly uuid: string;
  readonly projectId: string;
  readonly settings: RegistrySettings;
}

/** Of `credentials.remote`: what tells nobody anything. */
export interface Remote {
  /** Whose roles nodes have: of the node user (`acl`), of who lends them (`trust`, `app_cred`). */
  readonly grantee?: string;
  /** Who lends, for messages and for the search for what is amiss. */
  readonly owner?: { readonly id: string; readonly name: string; readonly projectName: string };
  readonly roles?: readonly string[];
}

/** Kinds of sealed secrets. Nodes are given two of them (`bootstrap/handout.ts`): JSON of the words of `storage.auth`, and of a name and a password. */
export const PASSWORD = 'password';
export const TRUST = 'trust';
export const NODE_CREDENTIAL = 'node-credential';
export const PUSH_USER = 'push-user';
export const CALLER_TOKEN = 'caller-token';
export const PUSH_NAME = 'push';

export function clusterOwner(uuid: string): string {
  return `cluster/${uuid}`;
}

export function generationOwner(uuid: string, generation: number): string {
  return `cluster/${uuid}/${generation}`;
}

/** Unique and recognisable: the sweep knows it again. */
export function userName({ uuid, projectId }: Pick<Subject, 'uuid' | 'projectId'>, generation: number): string {
  return `${uuid}_${projectId}_${generation}`;
}
export const USER_NAME: RegExp = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_.+_([1-9]\d*)$/;

export function applicationCredentialName({ uuid }: Pick<Subject, 'uuid'>, generation: number): string {
  return `umbra-${uuid}-${generation}`;
}

/** By whose id alone our probes differ from anything else's. */
export function probeObject({ uuid }: Pick<Subject, 'uuid'>, generation: number): string {
  return `.umbra-probe/${uuid}/${generation}`;
}

/** 192 random bits, with a letter of each kind: clouds have rules for passwords. At most 54 bytes, which all of Keystone's hashes take. */
export function newPassword(): Secret {
  return new Secret(`Um1-${randomBytes(24).toString('base64url')}`);
}

/** The one that stands there, or a new one. */
export async function ensureSecret(secrets: SealedSecrets, writer: Writer, owner: string, kind: string): Promise<Secret> {
  const known = await secrets.find(writer, owner, kind);
  if (known !== undefined) return known;
  const made = newPassword();
  await secrets.put(writer, owner, kind, made);
  return made;
}

/** A login in the words of `storage.auth`. */
export function wordsOf(auth: KeystoneAuth): Readonly<Record<string, string>> {
  switch (auth.kind) {
    case 'password':
      return { url: auth.url, userId: idOf(auth.user), password: auth.password.reveal(), projectId: idOf(auth.project) };
    case 'trust':
      return { url: auth.url, userId: idOf(auth.user), password: auth.password.reveal(), trustId: auth.trustId.reveal() };
    case 'application-credential':
      return { url: auth.url, applicationCredentialId: 'id' in auth.credential ? auth.credential.id : auth.credential.name, applicationCredentialSecret: auth.secret.reveal() };
  }
}

/** The login that `wordsOf` wrote. */
export function authOfWords(mode: CredentialMode, words: Readonly<Record<string, string>>): KeystoneAuth {
  const word = (name: string): string => words[name] ?? '';
  const user = { id: word('userId') };
  switch (mode) {
    case 'acl':
      return { kind: 'password', url: word('url'), user, password: new Secret(word('password')), project: { id: word('projectId') } };
    case 'trust':
      return { kind: 'trust', url: word('url'), user, password: new Secret(word('password')), trustId: new Secret(word('trustId')) };
    case 'app_cred':
      return { kind: 'application-credential', url: word('url'), credential: { id: word('applicationCredentialId') }, secret: new Secret(word('applicationCredentialSecret')) };
  }
}

function idOf(who: { readonly id: string } | { readonly name: string }): string {
  if (!('id' in who)) throw new Error('a node logs in by ids');
  return who.id;
}
