/**
 * Removes what was made for a cluster, in reverse. What is gone already is no error, and one thing that cannot be removed
 * keeps no other: access ends with the first that works.
 */
import type { Secret } from '../../config/config.ts';
import { SealError } from '../database/sealed.ts';
import { CloudError, cloudFailure, isCloudError } from '../keystone/cloud-error.ts';
import { revokeAccess } from './access.ts';
import { generationOwner, PASSWORD, TRUST } from './credential.ts';
import type { Entry, Thing } from './ledger.ts';
import type { CredentialDeps } from './make.ts';
import { operator, permitted, type Caller, type Operator } from './operator.ts';

/** What becomes of containers. `unused`: one that we made goes if nothing is in it. `purged`: these go with all that is in them, others where they are unused. */
export type ContainerFate = 'kept' | 'unused' | { readonly purged: ReadonlySet<string> };

interface Unmaking {
  readonly deps: CredentialDeps;
  readonly caller: Caller | undefined;
  readonly operator: Operator;
  readonly fate: ContainerFate;
  readonly signal: AbortSignal;
}

/**
 * @param entries the newest first
 * @returns what could not be removed, which stays in the ledger
 */
export async function unmake(deps: CredentialDeps, entries: readonly Entry[], options: { readonly caller: Caller | undefined; readonly fate: ContainerFate; readonly signal: AbortSignal }): Promise<readonly CloudError[]> {
  const unmaking: Unmaking = { deps, operator: operator(deps.cloud, options.caller), ...options };
  const problems: CloudError[] = [];
  for (const entry of entries) {
    try {
      await remove(unmaking, entry);
      await deps.ledger.gone(entry);
    } catch (error) {
      options.signal.throwIfAborted();
      if (!isCloudError(error)) throw error;
      // With a project goes whoever could have opened its account.
      if (error.status === 403 && 'projectId' in entry.thing && !(await deps.cloud.users.projectExists(entry.thing.projectId, options.signal))) await deps.ledger.gone(entry);
      else problems.push(error);
    }
  }
  return problems;
}

async function remove(unmaking: Unmaking, entry: Entry): Promise<void> {
  const { thing } = entry;
  switch (thing.kind) {
    case 'probe': return await removeProbe(unmaking, thing);
    case 'access': return await revokeAccess(unmaking.deps, unmaking.operator, entry, thing, unmaking.signal);
    case 'trust': return await removeTrust(unmaking, entry, thing);
    case 'application-credential': return await removeApplicationCredential(unmaking, thing);
    case 'user': return await removeUser(unmaking, thing);
    case 'container': return await removeContainer(unmaking, entry, thing);
  }
}

type Of<Kind extends Thing['kind']> = Extract<Thing, { readonly kind: Kind }>;

async function removeProbe({ deps: { cloud }, operator: by, signal }: Unmaking, { projectId, name, object }: Of<'probe'>): Promise<void> {
  const what = `remove object ${object} of container ${name}`;
  await by.as(what, projectId, async (place) => void permitted(what, await cloud.containers.remove(place, name, object, signal)), signal);
}

/** As the trustor, by the trust itself, as an administrator. Keystone removes it with a trustee that it keeps itself, so this need not succeed. */
async function removeTrust({ deps: { cloud, secrets, database, ledger }, caller, signal }: Unmaking, { clusterUuid, generation }: Entry, { trustorId }: Of<'trust'>): Promise<void> {
  const owner = generationOwner(clusterUuid, generation);
  // What cannot be opened is not known, and keeps nothing else from going.
  const opened = async (kind: string): Promise<Secret | undefined> => await secrets.find(database.db, owner, kind).catch((error: unknown) => {
    if (error instanceof SealError) return undefined;
    throw error;
  });
  const password = await opened(PASSWORD);
  const trustee = (await ledger.of(clusterUuid, generation)).map(({ thing }) => thing).find((thing) => thing.kind === 'user');
  const userId = trustee === undefined ? undefined : (trustee.id ?? (await cloud.users.find(trustee.name, signal)));
  const known = (await opened(TRUST))?.reveal();
  // A call whose answer was lost made one that we have no id of.
  const ids = known !== undefined ? [known] : password === undefined || userId === undefined ? [] : await cloud.delegations.trustsOf({ userId, password }, signal);
  for (const id of ids) {
    const asTrustor = async (): Promise<boolean> => caller?.holder.user?.id === trustorId && (await cloud.delegations.removeTrust(id, caller.token.reveal(), signal));
    const byItself = async (): Promise<boolean> => {
      if (password === undefined || userId === undefined) return false;
      const auth = { kind: 'trust', url: cloud.settings.url, user: { id: userId }, password, trustId: { reveal: () => id } } as const;
      const grant = await cloud.logIn(auth, signal).catch((error: unknown) => {
        if (isCloudError(error) && error.failure === 'permanent') return undefined; // the trustor is disabled or lost the role
        throw error;
      });
      return grant !== undefined && (await cloud.delegations.removeTrust(id, grant.token, signal));
    };
    const asAdmin = async (): Promise<boolean> => await cloud.logins.as('admin', async ({ token }) => await cloud.delegations.removeTrust(id, token, signal), signal);
    if (!(await asTrustor()) && !(await byItself()) && !(await asAdmin())) throw cloudFailure('permanent', 'the trust cannot be removed: neither whoever asked, nor the trustee, nor the administrator of the trustee domain may; let whoever made the cluster delete it');
  }
  await secrets.remove(database.db, { owner, kind: TRUST });
}

/** As its owner, else as an administrator. */
async function removeApplicationCredential({ deps: { cloud }, caller, signal }: Unmaking, thing: Of<'application-credential'>): Promise<void> {
  if (caller?.holder.user?.id === thing.userId && (await cloud.delegations.removeCredential({ id: undefined, ...thing }, caller.token.reveal(), signal))) return;
  for (const who of ['service', 'admin'] as const) {
    if (who === 'admin' && cloud.settings.trusteeDomain === undefined) break;
    if (await cloud.logins.as(who, async ({ token }) => await cloud.delegations.removeCredential({ id: undefined, ...thing }, token, signal), signal)) return;
  }
  throw new CloudError('permanent', `application credential ${thing.name} of user with id ${thing.userId} cannot be removed: neither whoever asked nor the service may; let that user delete the cluster, or give the service's user the role admin`);
}

async function removeUser({ deps: { cloud }, signal }: Unmaking, { id, name }: Of<'user'>): Promise<void> {
  const found = id ?? (await cloud.users.find(name, signal));
  if (found !== undefined) await cloud.users.remove(found, signal);
}

async function removeContainer({ deps: { cloud, ledger }, operator: by, fate, signal }: Unmaking, entry: Entry, { projectId, name, made }: Of<'container'>): Promise<void> {
  if (fate === 'kept') return;
  const isPurged = fate !== 'unused' && fate.purged.has(name);
  if (!isPurged && !made) return;
  // Another cluster's too.
  if ((await ledger.aboutContainer('container', projectId, name)).some(({ clusterUuid }) => clusterUuid !== entry.clusterUuid)) return;
  await by.as(`remove container ${name}`, projectId, async (place) => {
    if (isPurged) await cloud.containers.purge(place, name, signal);
    else await cloud.containers.removeEmpty(place, name, signal);
  }, signal);
}
