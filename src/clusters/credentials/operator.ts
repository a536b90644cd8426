/** Whoever may change containers of a cluster's project: whoever asked, where they are of that project, else the service's own user. */
import type { TokenHolder } from '../../openstack/identity.ts';
import type { Secret } from '../../config/config.ts';
import type { Cloud } from '../keystone/cloud.ts';
import { CloudError, isCloudError } from '../keystone/cloud-error.ts';
import type { Place } from '../keystone/containers.ts';

/** Whose token is kept for the work; it may have ended. */
export interface Caller {
  readonly token: Secret;
  readonly holder: TokenHolder;
}

export interface Operator {
  /** Runs as the first who may. A task throws CloudError 401 or 403 where this one may not. */
  as<T>(what: string, projectId: string, task: (place: Place) => Promise<T>, signal: AbortSignal): Promise<T>;
}

export function operator(cloud: Cloud, caller: Caller | undefined): Operator {
  return {
    async as(what, projectId, task, signal) {
      const refusals: CloudError[] = [];
      const trying = async (url: string, token: string): Promise<{ readonly value: Awaited<ReturnType<typeof task>> } | undefined> => {
        try {
          return { value: await task({ url, token }) };
        } catch (error) {
          if (!isCloudError(error, 401, 403)) throw error;
          refusals.push(error);
          return undefined;
        }
      };
      if (caller?.holder.project?.id === projectId) {
        const done = await trying(cloud.accountOf(caller.holder, projectId), caller.token.reveal());
        if (done !== undefined) return done.value;
      }
      const done = await cloud.logins.as('service', async (grant) => {
        const outcome = await trying(cloud.accountOf(grant, projectId), grant.token);
        const refusal = refusals.at(-1);
        if (outcome === undefined && refusal?.status === 401) throw refusal; // another token
        return outcome;
      }, signal).catch((error: unknown) => {
        if (isCloudError(error, 401)) return undefined;
        throw error;
      });
      if (done !== undefined) return done.value;
      throw new CloudError('permanent', `${what}: neither whoever asked nor the service's own user may do that in project ${projectId}; ask with one of Swift's operator roles (such as member) in that project, or give the service's user the role ResellerAdmin`, { status: 403, cause: refusals.at(-1) });
    },
  };
}

/** Verdicts of calls that do not throw. @throws CloudError where this one may not */
export function permitted(what: string, status: number): number {
  if (status === 401 || status === 403) throw new CloudError('permanent', `${what}: Swift answered ${status}`, { status });
  return status;
}
