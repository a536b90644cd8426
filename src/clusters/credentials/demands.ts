/** What a caller must have for a cluster with a registry, known before anything is made: the API asks and answers 400 or 403. */
import type { CloudSettings } from '../keystone/settings.ts';
import type { CredentialMode } from '../words.ts';

export interface Caller {
  /** `token.methods` of Keystone: how they logged in. */
  readonly methods: readonly string[];
  /** Names of their roles in the token's project. */
  readonly roles: readonly string[];
  /** Their token came by a trust (`OS-TRUST:trust`). */
  readonly byTrust: boolean;
}

export interface Demand {
  /** 400: this service cannot do it for anybody; for a template too. 403: not for this caller. */
  readonly status: 400 | 403;
  readonly reason: string;
}

/** Whether the service can do this at all. Undefined: yes. */
export function modeProblem(mode: CredentialMode, cloud: CloudSettings): Demand | undefined {
  const missing = (key: string): Demand => ({ status: 400, reason: `registry_credential_mode ${mode} is not available here: clusters.${key} is not configured; ask whoever runs this service, or choose another mode` });
  if (mode !== 'app_cred' && cloud.trusteeDomain === undefined) return missing('trusteeDomain');
  if (mode === 'acl' && cloud.serviceProject === undefined) return missing('serviceProject');
  return undefined;
}

/** Whether the caller may have it. Undefined: yes. Keystone's refusals come too late to be understood. */
export function callerProblem(mode: CredentialMode, cloud: CloudSettings, caller: Caller): Demand | undefined {
  if (mode === 'acl') return undefined;
  const what = mode === 'trust' ? 'a trust' : 'an application credential';
  const remedy = 'log in with user name and password (or single sign-on), or choose registry_credential_mode acl';
  if (caller.methods.includes('application_credential')) return { status: 403, reason: `Keystone does not let an application credential make ${what}, which registry_credential_mode ${mode} needs: ${remedy}` };
  if (caller.byTrust) return { status: 403, reason: `Keystone does not let a trust make ${what}, which registry_credential_mode ${mode} needs: ${remedy}` };
  const has = new Set(caller.roles.map((role) => role.toLowerCase()));
  const lacking = cloud.roles.delegated.filter((role) => !has.has(role.toLowerCase()));
  if (lacking.length > 0) return { status: 403, reason: `you lack the role ${lacking.join(', ')} in this project, which registry_credential_mode ${mode} lends to the nodes: ask for it, or choose registry_credential_mode acl` };
  return undefined;
}
