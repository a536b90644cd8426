/** Whether a registry can be had at all: what is configured, what the cloud has, what the caller may. Asked before anything is made, so that nothing fails on a node instead. */
import type { ClustersConfig } from '../../config/config.ts';
import { endpointOf } from '../../openstack/catalogue.ts';
import type { RegistrySettings } from '../words.ts';
import { hasOneOf, type Access } from './policy.ts';
import { ApiProblem } from './problem.ts';

export type PossibleConfig = Pick<ClustersConfig, 'trusteeDomain' | 'serviceProject' | 'roles'> & { readonly keystone: Pick<ClustersConfig['keystone'], 'region'> };

/** For anybody: of templates too. @throws ApiProblem (400) */
export function mustBePossible({ credentialMode }: RegistrySettings, { caller: { catalogue } }: Access, { keystone: { region }, trusteeDomain, serviceProject }: PossibleConfig): void {
  const missing = credentialMode !== 'app_cred' && trusteeDomain === undefined ? 'trusteeDomain' : credentialMode === 'acl' && serviceProject === undefined ? 'serviceProject' : undefined;
  if (missing !== undefined) throw new ApiProblem('invalid', `registry_credential_mode ${credentialMode} is disabled here, as clusters.${missing} is not configured; choose another registry_credential_mode, or ask whoever runs this service`);
  const store = endpointOf(catalogue, { type: 'object-store', region, interface: 'public' });
  if ('problem' in store) throw new ApiProblem('invalid', `registry_enabled needs an object store, but ${store.problem}`);
}

/** For whoever creates a cluster. @throws ApiProblem (403) */
export function mustBeAllowed({ credentialMode }: RegistrySettings, { caller }: Access, { roles }: Pick<PossibleConfig, 'roles'>): void {
  if (!hasOneOf(caller, roles.operator)) throw new ApiProblem('forbidden', `A registry's container is made with the rights of whoever creates the cluster: you need one of the roles ${roles.operator.join(', ')} in this project`);
  if (credentialMode === 'acl') return;
  const what = credentialMode === 'trust' ? 'a trust' : 'an application credential';
  if (caller.applicationCredential !== undefined || caller.methods.includes('application_credential') || caller.trustee !== undefined) {
    const by = caller.trustee === undefined ? 'an application credential' : 'a trust';
    throw new ApiProblem('forbidden', `Keystone lets ${by} make no ${what.replace(/^an? /, '')}, which registry_credential_mode ${credentialMode} needs; log in with user name and password (or single sign-on), or choose registry_credential_mode acl`);
  }
  const lacking = roles.delegated.filter((role) => !hasOneOf(caller, [role]));
  if (lacking.length > 0) throw new ApiProblem('forbidden', `registry_credential_mode ${credentialMode} lends nodes the role ${roles.delegated.join(', ')}, and you lack ${lacking.join(', ')} in this project; ask for it, or choose registry_credential_mode acl`);
}
