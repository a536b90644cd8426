/** The cloud as the service sees it: who it is there, and what it asks for. One for each process. */
import { accountUrl, endpointOf } from '../../openstack/catalogue.ts';
import { keystoneToken, type Grant, type KeystoneAuth, type TokenHolder } from '../../openstack/identity.ts';
import type { Timers } from '../../workers/timers.ts';
import { CloudError, cloudFailure } from './cloud-error.ts';
import { connection as openConnection } from './connection.ts';
import { containers, type Containers } from './containers.ts';
import { delegations, type Delegations } from './delegations.ts';
import { logins as openLogins, type Logins } from './logins.ts';
import { nodeUsers, type NodeUsers } from './node-users.ts';
import type { CloudSettings } from './settings.ts';

export interface Cloud {
  readonly settings: CloudSettings;
  readonly logins: Logins;
  readonly users: NodeUsers;
  readonly delegations: Delegations;
  readonly containers: Containers;
  /** As a node does. @throws CloudError with the reason that Keystone gives */
  logIn(auth: KeystoneAuth, signal: AbortSignal): Promise<Grant>;
  /** Of a project's account, for whoever's catalogue that is. @throws CloudError where there is no object store */
  accountOf(holder: Pick<TokenHolder, 'catalogue'>, projectId: string): string;
  close(): Promise<void>;
}

export interface CloudDeps {
  readonly settings: CloudSettings;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly random: () => number;
}

export function openCloud({ settings, timers, nowMs, random }: CloudDeps): Cloud {
  const connection = openConnection({ settings, timers, random });
  const logins = openLogins({ settings, connection, nowMs });
  const shared = { settings, connection, logins };
  return {
    settings, logins,
    users: nodeUsers(shared),
    delegations: delegations(shared),
    containers: containers(connection),
    logIn: async (auth, signal) => await connection.run('log in as a node', async (attempt) => await keystoneToken(auth, connection.wire, cloudFailure, attempt), signal),
    accountOf({ catalogue }, projectId) {
      const endpoint = endpointOf(catalogue, { type: 'object-store', region: settings.region, interface: settings.interface });
      if ('problem' in endpoint) throw new CloudError('permanent', `there is no object store for clusters: ${endpoint.problem}`);
      return accountUrl(endpoint.url, `AUTH_${projectId}`);
    },
    async close() {
      logins.close();
      await connection.close();
    },
  };
}

