/** Whether a registry can be had at all: what is configured, what the cloud has, what the caller may. Asked before anything is made, so that nothing fails on a node instead. */
import { endpointOf } from '../../openstack/catalogue.ts';
import { callerProblem, modeProblem, type Demand } from '../credentials/demands.ts';
import type { CloudSettings } from '../keystone/settings.ts';
import type { RegistrySettings } from '../words.ts';
import { hasOneOf, type Access } from './policy.ts';
import { ApiProblem } from './problem.ts';

/** For anybody: of templates too. @throws ApiProblem (400) */
export function mustBePossible({ credentialMode }: RegistrySettings, { caller: { catalogue } }: Access, cloud: CloudSettings): void {
  refuse(modeProblem(credentialMode, cloud));
  const store = endpointOf(catalogue, { type: 'object-store', region: cloud.region, interface: 'public' });
  if ('problem' in store) throw new ApiProblem('invalid', `registry_enabled needs an object store, but ${store.problem}`);
}

/** For whoever creates a cluster. @param operators roles that may make containers. @throws ApiProblem (400, 403) */
export function mustBeAllowed(settings: RegistrySettings, access: Access, cloud: CloudSettings, operators: readonly string[]): void {
  mustBePossible(settings, access, cloud);
  const { caller } = access;
  if (!hasOneOf(caller, operators)) throw new ApiProblem('forbidden', `A registry's container is made with the rights of whoever creates the cluster: you need one of the roles ${operators.join(', ')} in this project`);
  refuse(callerProblem(settings.credentialMode, cloud, { methods: caller.methods, roles: caller.roles, byTrust: caller.trustee !== undefined }));
}

function refuse(demand: Demand | undefined): void {
  if (demand !== undefined) throw new ApiProblem(demand.status === 400 ? 'invalid' : 'forbidden', demand.reason);
}
