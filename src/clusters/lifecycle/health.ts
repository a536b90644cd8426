/** Tries each cluster's credential as its nodes use it, and says in `registry_status` what is amiss and who can mend it. */
import type { AdvanceDeps } from './advance.ts';
import { authOfWords, generationOwner, NODE_CREDENTIAL, type Remote } from '../credentials/credential.ts';
import { nodeStorage } from '../credentials/node-storage.ts';
import { isCloudError, type CloudError } from '../keystone/cloud-error.ts';
import type { ClusterRow } from './cluster.ts';

const PAGE = 100;
const AT_ONCE = 4;

/** All of them, a few at a time. A cluster that could not be asked about keeps what was known. */
export async function checkHealth(deps: AdvanceDeps, signal: AbortSignal): Promise<void> {
  for (let after = 0; ;) {
    const page = await deps.database.db.selectFrom('clusters').select(['id', 'uuid']).where('id', '>', after).where('registry_enabled', '=', 1).where('generation', '>', 0)
      .where('status', 'in', ['CREATE_COMPLETE', 'UPDATE_COMPLETE', 'UPDATE_FAILED']).orderBy('id').limit(PAGE).execute();
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.id;
    const queue = page.values();
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (const { uuid } of queue) await checkCluster(deps, uuid, signal);
    }));
  }
}

async function checkCluster(deps: AdvanceDeps, uuid: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const cluster = await deps.rows.find(uuid);
  if (cluster === undefined || cluster.generation === 0) return;
  let status: string | undefined;
  try {
    status = await statusOf(deps, cluster, signal);
  } catch (error) {
    signal.throwIfAborted();
    // A secret that does not open, say: no reason to leave the others alone.
    deps.report({ kind: 'failed', what: `look after cluster ${uuid}`, error: error instanceof Error ? error.message : String(error) });
  }
  if (status === undefined) return;
  const { numUpdatedRows } = await deps.database.db.updateTable('clusters').set({ registry_status: status })
    .where('uuid', '=', uuid).where('generation', '=', cluster.generation).where((where) => where.or([where('registry_status', 'is', null), where('registry_status', '!=', status)])).executeTakeFirst();
  if (numUpdatedRows > 0n) deps.report({ kind: 'registry-status', cluster: uuid, status });
}

/** Undefined: not known. */
async function statusOf(deps: AdvanceDeps, cluster: ClusterRow, signal: AbortSignal): Promise<string | undefined> {
  const { secrets, database, cloud, rows } = deps;
  const sealed = await secrets.find(database.db, generationOwner(cluster.uuid, cluster.generation), NODE_CREDENTIAL);
  if (sealed === undefined) return undefined;
  const { remote } = (await rows.credentials(cluster.uuid)).find(({ generation }) => generation === cluster.generation) ?? { remote: {} };
  const auth = authOfWords(cluster.settings.credentialMode, JSON.parse(sealed.reveal()) as Readonly<Record<string, string>>); // `wordsOf`
  const degraded = async (otherwise: string): Promise<string> => `DEGRADED: ${(await ownersFault(deps, cluster, remote, signal)) ?? otherwise}`;
  const refused = (error: CloudError): boolean => error.failure === 'permanent';
  const grant = await cloud.logIn(auth, signal).catch((error: unknown) => {
    if (isCloudError(error) && refused(error)) return undefined;
    throw error;
  });
  if (grant === undefined) return await degraded('Keystone refuses the nodes\' credential: rotate it');
  const place = { url: cloud.accountOf(grant, cluster.projectId), token: grant.token };
  const { container, upstreamContainer } = nodeStorage({ uuid: cluster.uuid, project_id: cluster.projectId }, cluster.settings);
  for (const name of [container, ...(upstreamContainer === undefined ? [] : [upstreamContainer])]) {
    const status = await cloud.containers.list(place, name, signal);
    // Of a container that is gone Swift says 403 too, to whoever does not own the account.
    if (status === 401 || status === 403 || status === 404) return await degraded(`container ${name} is gone, or its access list does not let the nodes in any more: rotate the credential, which makes both again, a container that was gone empty`);
  }
  return 'ACTIVE';
}

/** Of a delegated credential: whoever lent it. Undefined: it is not for that. */
async function ownersFault({ cloud }: AdvanceDeps, { projectId }: ClusterRow, { owner, roles = [] }: Remote, signal: AbortSignal): Promise<string | undefined> {
  if (owner === undefined) return undefined;
  const user = await cloud.users.user(owner.id, signal);
  if (user === undefined) return `${owner.name}, who lent the credential, was deleted: rotate it`;
  if (!user.enabled) return `${owner.name}, who lent the credential, is disabled: enable them or rotate it`;
  const has = await cloud.users.rolesOf(owner.id, projectId, signal);
  const lost = has === undefined ? [] : roles.filter((role) => !has.includes(role));
  return lost.length === 0 ? undefined : `${owner.name} lost role ${lost.join(', ')} in project ${owner.projectName}: give it back or rotate`;
}
