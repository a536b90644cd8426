/**
 * Makes a generation of a cluster's credential, step by step: containers, who the nodes are, what lets them in, proof.
 * Each step finds what an earlier attempt left and goes on from there, so that whoever takes over begins at the beginning.
 */
import type { Timers } from '../../workers/timers.ts';
import { Secret } from '../../config/config.ts';
import type { KeystoneAuth } from '../../openstack/identity.ts';
import type { ClusterDatabase } from '../database/database.ts';
import type { SealedSecrets } from '../database/sealed.ts';
import type { Cloud } from '../keystone/cloud.ts';
import { CloudError, isCloudError } from '../keystone/cloud-error.ts';
import { grantAccess, narrowAccess, type Access, type AccessDeps } from './access.ts';
import {
  applicationCredentialName, clusterOwner, ensureSecret, generationOwner, NODE_CREDENTIAL, PASSWORD, probeObject, PUSH_NAME, PUSH_USER, TRUST, userName, wordsOf, newPassword,
  type Remote, type Subject,
} from './credential.ts';
import type { Ledger, Thing } from './ledger.ts';
import { nodeStorage } from './node-storage.ts';
import { operator, type Caller, type Operator } from './operator.ts';
import { prove, type Claim } from './proof.ts';

export interface CredentialDeps extends AccessDeps {
  readonly database: ClusterDatabase;
  readonly secrets: SealedSecrets;
  readonly cloud: Cloud;
  readonly ledger: Ledger;
  readonly timers: Timers;
  /** Marks users as of this service, in a domain that it may share with others. */
  readonly serviceId: string;
}

interface Making {
  readonly deps: CredentialDeps;
  readonly subject: Subject;
  readonly generation: number;
  readonly caller: Caller | undefined;
  readonly operator: Operator;
  readonly signal: AbortSignal;
}

interface Identity {
  readonly auth: KeystoneAuth;
  readonly grantee: string;
  readonly remote: Remote;
  readonly serviceProjectId?: string;
}

/** @throws CloudError with a reason that whoever asked understands */
export async function makeCredential(deps: CredentialDeps, subject: Subject, generation: number, caller: Caller | undefined, signal: AbortSignal): Promise<Remote> {
  const making: Making = { deps, subject, generation, caller, operator: operator(deps.cloud, caller), signal };
  const { uuid, projectId, settings } = subject;
  const { container, upstreamContainer } = nodeStorage({ uuid, project_id: projectId }, settings);
  const isOwn = await ensureContainer(making, container, settings.quotaBytes);
  if (upstreamContainer !== undefined) await ensureContainer(making, upstreamContainer, undefined);
  const identity = await ensureIdentity(making);
  const access = (name: string, mayWrite: boolean): Access => ({ kind: 'access', projectId, name, grantee: identity.grantee, mayWrite });
  const images = access(container, settings.write === 'all');
  const isOpen = (await ensureAccess(making, images)) || images.mayWrite;
  if (upstreamContainer !== undefined) await ensureAccess(making, access(upstreamContainer, true));
  await proveIt(making, identity, { container, upstreamContainer, isClosed: isOwn && !isOpen });
  // It works: what an earlier one was let do besides ends now, while whoever asked is there to end it.
  await narrowAccess(deps, making.operator, { clusterUuid: uuid, generation }, images, signal);
  await seal(making, identity.auth);
  return identity.remote;
}

/** @returns whether it is this cluster's alone */
async function ensureContainer({ deps: { cloud, ledger }, subject: { uuid, projectId }, operator: by, signal }: Making, name: string, quotaBytes: number | undefined): Promise<boolean> {
  return await by.as(`make container ${name}`, projectId, async (place) => {
    const there = await cloud.containers.look(place, name, signal);
    const intended = await ledger.intend(uuid, 0, { kind: 'container', projectId, name, made: there === undefined });
    const thing: Thing = intended?.thing ?? { kind: 'container', projectId, name, made: there === undefined };
    if (there === undefined) await cloud.containers.make(place, name, uuid, signal);
    const isOwn = thing.kind === 'container' && thing.made && (await ledger.aboutContainer('container', projectId, name)).every(({ clusterUuid }) => clusterUuid === uuid);
    // One that was there before keeps what bound it has.
    if (quotaBytes !== undefined || (isOwn && there?.hasQuota === true)) await cloud.containers.setQuota(place, name, quotaBytes, signal);
    await ledger.done(uuid, 0, thing);
    return isOwn;
  }, signal);
}

async function ensureIdentity(making: Making): Promise<Identity> {
  switch (making.subject.settings.credentialMode) {
    case 'acl': return await serviceUser(making);
    case 'trust': return await trustee(making);
    case 'app_cred': return await applicationCredential(making);
  }
}

/** With the role that lets it log in to the service project, where it may do nothing. */
async function serviceUser(making: Making): Promise<Identity> {
  const { deps: { cloud }, signal } = making;
  const { id, password } = await ensureUser(making);
  await cloud.users.admit(id, signal);
  const serviceProjectId = await cloud.users.serviceProject(signal);
  const grantee = `${serviceProjectId}:${id}`;
  return { auth: { kind: 'password', url: cloud.settings.url, user: { id }, password, project: { id: serviceProjectId } }, grantee, remote: { grantee }, serviceProjectId };
}

async function trustee(making: Making): Promise<Identity> {
  const { deps: { cloud, ledger, secrets, database }, subject: { uuid, projectId }, generation, signal } = making;
  const owner = lender(making);
  const { roles } = ownersRemote(making, owner);
  const { id, password } = await ensureUser(making);
  const secretsOf = generationOwner(uuid, generation);
  const thing: Thing = { kind: 'trust', trustorId: owner.id };
  let trustId = (await secrets.find(database.db, secretsOf, TRUST))?.reveal();
  if (trustId === undefined) {
    // Of an attempt whose end is not known there may be one: the trustee is this generation's alone.
    const begun = await ledger.intend(uuid, generation, thing);
    const find = async (): Promise<string | undefined> => (await cloud.delegations.trustsOf({ userId: id, password }, signal))[0];
    trustId = begun === undefined ? undefined : await find();
    trustId ??= await cloud.delegations.makeTrust({ token: owner.token.reveal(), trustorId: owner.id, trusteeId: id, projectId, roles, }, signal).catch(async (error: unknown) => {
      if (!isCloudError(error) || error.failure !== 'retryable') throw error;
      const found = await find();
      if (found === undefined) throw error;
      return found;
    });
    await secrets.put(database.db, secretsOf, TRUST, new Secret(trustId));
    await ledger.done(uuid, generation, thing);
  }
  return {
    auth: { kind: 'trust', url: cloud.settings.url, user: { id }, password, trustId: new Secret(trustId) },
    // It acts as the owner, with the roles that were lent and no other.
    grantee: `${projectId}:${owner.id}`, remote: ownersRemote(making, owner),
  };
}

async function applicationCredential(making: Making): Promise<Identity> {
  const { deps: { cloud, ledger, secrets, database }, subject, generation, signal } = making;
  const owner = lender(making);
  const { roles } = ownersRemote(making, owner);
  const name = applicationCredentialName(subject, generation);
  const thing = { kind: 'application-credential', userId: owner.id, name } as const;
  const secret = await database.db.transaction().execute(async (transaction) => {
    await ledger.intend(subject.uuid, generation, thing, transaction);
    return await ensureSecret(secrets, transaction, generationOwner(subject.uuid, generation), PASSWORD);
  });
  const id = await cloud.delegations.ensureCredential({ token: owner.token.reveal(), userId: owner.id, name, secret, roles, rules: cloud.settings.accessRules ? rulesOf(subject) : undefined }, signal);
  await ledger.done(subject.uuid, generation, { ...thing, id });
  return {
    auth: { kind: 'application-credential', url: cloud.settings.url, credential: { id }, secret },
    grantee: `${subject.projectId}:${owner.id}`, remote: ownersRemote(making, owner),
  };
}

const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'] as const;

/** What of the object store it may ask for; `**` stands for any path below. */
function rulesOf({ uuid, projectId, settings }: Subject): readonly { readonly service: string; readonly method: string; readonly path: string }[] {
  const { container, upstreamContainer } = nodeStorage({ uuid, project_id: projectId }, settings);
  return [container, ...(upstreamContainer === undefined ? [] : [upstreamContainer])].flatMap((name) =>
    [`/v1/AUTH_${projectId}/${name}`, `/v1/AUTH_${projectId}/${name}/**`].flatMap((path) => METHODS.map((method) => ({ service: 'object-store', method, path }))));
}

interface Lender {
  readonly id: string;
  readonly name: string;
  readonly projectName: string;
  readonly token: Secret;
}

/** Whoever asked: nobody lends what is another's. */
function lender({ caller, subject: { projectId, settings } }: Making): Lender {
  if (caller?.holder.user === undefined) throw new CloudError('permanent', `registry_credential_mode ${settings.credentialMode} needs the token of whoever asks, and it has ended; ask again`);
  const { user, project } = caller.holder;
  if (project?.id !== projectId) throw new CloudError('permanent', `registry_credential_mode ${settings.credentialMode} needs whoever asks to be in the cluster's project ${projectId}`);
  return { id: user.id, name: user.name, projectName: project.name, token: caller.token };
}

function ownersRemote({ deps: { cloud }, subject: { projectId } }: Making, { id, name, projectName }: Lender): Required<Remote> {
  return { grantee: `${projectId}:${id}`, owner: { id, name, projectName }, roles: cloud.settings.roles.delegated };
}

/** The password is known before the user is, so that it never has another. */
async function ensureUser({ deps: { database, secrets, ledger, cloud, serviceId }, subject, generation, signal }: Making): Promise<{ readonly id: string; readonly password: Secret }> {
  const thing = { kind: 'user', name: userName(subject, generation) } as const;
  const password = await database.db.transaction().execute(async (transaction) => {
    await ledger.intend(subject.uuid, generation, thing, transaction);
    return await ensureSecret(secrets, transaction, generationOwner(subject.uuid, generation), PASSWORD);
  });
  const id = await cloud.users.ensure({ name: thing.name, password, description: serviceId }, signal);
  await ledger.done(subject.uuid, generation, { ...thing, id });
  return { id, password };
}

/** @returns whether another entry lets the nodes write there */
async function ensureAccess({ deps, subject: { uuid }, generation, operator: by, signal }: Making, access: Access): Promise<boolean> {
  await deps.ledger.intend(uuid, generation, access);
  const isOpen = await grantAccess(deps, by, { clusterUuid: uuid, generation }, access, signal);
  await deps.ledger.done(uuid, generation, access);
  return isOpen;
}

async function proveIt({ deps, subject, generation, signal }: Making, { auth, serviceProjectId }: Identity, { container, upstreamContainer, isClosed }: Pick<Claim, 'container' | 'upstreamContainer' | 'isClosed'>): Promise<void> {
  const { ledger, cloud, timers } = deps;
  const probe = probeObject(subject, generation);
  for (const name of [container, ...(upstreamContainer === undefined ? [] : [upstreamContainer])])
    await ledger.intend(subject.uuid, generation, { kind: 'probe', projectId: subject.projectId, name, object: probe });
  const { settings: { write, credentialMode }, projectId } = subject;
  const openProject = credentialMode !== 'acl' && cloud.settings.openProject;
  await prove(cloud, timers, { auth, projectId, serviceProjectId, container, upstreamContainer, write, isClosed, probe, hasRules: credentialMode === 'app_cred' && cloud.settings.accessRules, openProject }, signal);
  for (const entry of await ledger.of(subject.uuid, generation)) if (entry.thing.kind === 'probe') await ledger.gone(entry);
}

async function seal({ deps: { database, secrets }, subject: { uuid, settings }, generation }: Making, auth: KeystoneAuth): Promise<void> {
  await database.db.transaction().execute(async (transaction) => {
    await secrets.put(transaction, generationOwner(uuid, generation), NODE_CREDENTIAL, new Secret(JSON.stringify(wordsOf(auth))));
    const owner = clusterOwner(uuid);
    // Who pushes outlives a rotation of what opens the store.
    if (settings.write === 'all' && (await secrets.find(transaction, owner, PUSH_USER)) === undefined)
      await secrets.put(transaction, owner, PUSH_USER, new Secret(JSON.stringify({ name: PUSH_NAME, password: newPassword().reveal() })));
  });
}
