/**
 * Removes what no cluster has any more: what the ledger still names of clusters without a row, and users in the domain of
 * nodes. Ours alone: by name, by domain, and by the mark of this service, since others may use the domain too.
 */
import type { AdvanceDeps } from './advance.ts';
import { USER_NAME } from '../credentials/credential.ts';
import { unmake } from '../credentials/unmake.ts';

const PAGE = 100;

export async function sweep(deps: AdvanceDeps, signal: AbortSignal): Promise<void> {
  for (const uuid of await deps.ledger.orphans(PAGE)) {
    const problems = await unmake(deps, await deps.ledger.of(uuid), { caller: undefined, fate: 'unused', signal });
    const error = problems.map(({ message }) => message).join('; ');
    deps.report(problems.length === 0 ? { kind: 'swept', what: `what cluster ${uuid} left` } : { kind: 'failed', what: `sweep what cluster ${uuid} left`, error });
  }
  if (deps.cloud.settings.trusteeDomain === undefined) return;
  // Users first, then what is known of them: a user is in the ledger before it is in Keystone.
  for (const { id, name, description } of await deps.cloud.users.list(signal)) {
    const [, uuid = '', generation = ''] = USER_NAME.exec(name) ?? [];
    if (uuid === '' || description !== deps.serviceId) continue;
    if ((await deps.ledger.of(uuid, Number(generation))).some(({ thing }) => thing.kind === 'user')) continue;
    await deps.cloud.users.remove(id, signal);
    deps.report({ kind: 'swept', what: `user ${name}` });
  }
}
