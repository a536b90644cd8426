/** What an owner lends to nodes: trusts, whose ids are secrets here, and application credentials. */
import { identityUrl, unscopedToken } from '../../openstack/identity.ts';
import type { Secret } from '../../config/config.ts';
import { CloudError, cloudFailure, isCloudError } from './cloud-error.ts';
import { jsonOf, type Connection } from './connection.ts';
import type { CloudSettings } from './settings.ts';

export interface TrustAsk {
  /** Of the trustor, whose token `token` is: Keystone lets nobody lend what is another's. */
  readonly token: string;
  readonly trustorId: string;
  readonly trusteeId: string;
  readonly projectId: string;
  readonly roles: readonly string[];
}

export interface CredentialAsk {
  readonly token: string;
  readonly userId: string;
  readonly name: string;
  /** Ours, made before: whoever takes over knows it. */
  readonly secret: Secret;
  readonly roles: readonly string[];
  readonly rules: readonly { readonly service: string; readonly method: string; readonly path: string }[] | undefined;
}

export interface Delegations {
  /** Ids of the trusts whose trustee that is. The trustee itself looks. */
  trustsOf(trustee: { readonly userId: string; readonly password: Secret }, signal: AbortSignal): Promise<readonly string[]>;
  /** Not to be called again before `trustsOf` was: trusts have no names. */
  makeTrust(ask: TrustAsk, signal: AbortSignal): Promise<string>;
  /** With the token that may: of the trustor, by the trust itself, of an administrator. Gone already: true. False: this one may not. */
  removeTrust(id: string, token: string, signal: AbortSignal): Promise<boolean>;
  /** There is such a credential, and its id. */
  ensureCredential(ask: CredentialAsk, signal: AbortSignal): Promise<string>;
  /** As `removeTrust`; by name where the id is not known. */
  removeCredential(credential: { readonly userId: string; readonly name: string; readonly id: string | undefined }, token: string, signal: AbortSignal): Promise<boolean>;
}

type Row = Readonly<Record<string, unknown>>;

export function delegations({ settings, connection }: { readonly settings: CloudSettings; readonly connection: Connection }): Delegations {
  const base = identityUrl(settings.url);
  const rowsOf = (text: string, key: string): readonly Row[] => {
    const { [key]: rows } = jsonOf(`look for ${key}`, text) as Row; // Keystone's answer
    return Array.isArray(rows) ? (rows as readonly Row[]) : [];
  };

  const credentialsNamed = async (userId: string, name: string, token: string, signal: AbortSignal): Promise<readonly string[]> => {
    const url = `${base}/users/${userId}/application_credentials?${new URLSearchParams({ name }).toString()}`;
    const { text } = await connection.call({ what: `look for application credential ${name}`, method: 'GET', url, token, expect: [200] }, signal);
    return rowsOf(text, 'application_credentials').filter((row) => row['name'] === name).map((row) => String(row['id']));
  };

  return {
    async trustsOf({ userId, password }, signal) {
      const { token } = await connection.run('log in as a trustee', async (attempt) => await unscopedToken({ url: settings.url, userId, password }, connection.wire, cloudFailure, attempt), signal);
      const url = `${base}/OS-TRUST/trusts?${new URLSearchParams({ trustee_user_id: userId }).toString()}`;
      const { text } = await connection.call({ what: `look for trusts of user with id ${userId}`, method: 'GET', url, token, expect: [200] }, signal);
      return rowsOf(text, 'trusts').map((row) => String(row['id']));
    },

    async makeTrust({ token, trustorId, trusteeId, projectId, roles }, signal) {
      // No key more: Keystone refuses what it does not know. No `remaining_uses`: each node logs in again and again.
      const trust = {
        trustor_user_id: trustorId, trustee_user_id: trusteeId, project_id: projectId, impersonation: true,
        roles: roles.map((name) => ({ name })), allow_redelegation: false, expires_at: null,
      };
      const named = roles.join(', ');
      const { text } = await connection.call({
        what: 'make a trust', method: 'POST', url: `${base}/OS-TRUST/trusts`, token, json: { trust }, expect: [201], once: true,
        remedies: {
          401: 'the token of whoever asked ended before its use; ask again',
          403: `whoever asked may not lend the role ${named} in project ${projectId}: they need the role there, and a token by user name and password or single sign-on, not by an application credential or another trust`,
          404: `there is no role ${named}, or whoever asked lacks it in project ${projectId}`,
        },
      }, signal);
      const { trust: made } = jsonOf('make a trust', text) as { readonly trust?: Row }; // Keystone's answer
      if (made === undefined) throw new CloudError('permanent', 'make a trust: Keystone answered none');
      return String(made['id']);
    },

    async removeTrust(id, token, signal) {
      try {
        await connection.call({ what: 'remove a trust', method: 'DELETE', url: `${base}/OS-TRUST/trusts/${encodeURIComponent(id)}`, token, expect: [204, 404], secrets: [id] }, signal);
        return true;
      } catch (error) {
        if (isCloudError(error, 401, 403)) return false;
        throw error;
      }
    },

    async ensureCredential({ token, userId, name, secret, roles, rules }, signal) {
      const what = `make application credential ${name}`;
      const url = `${base}/users/${userId}/application_credentials`;
      const application_credential = { name, secret: secret.reveal(), roles: roles.map((role) => ({ name: role })), unrestricted: false, ...(rules === undefined ? {} : { access_rules: rules }) };
      const remedies = {
        400: `Keystone refuses the role ${roles.join(', ')}: whoever asked must have it in the project`,
        401: 'the token of whoever asked ended before its use; ask again',
        403: 'whoever asked needs a token by user name and password or single sign-on, not by an application credential or a trust',
        404: `there is no role ${roles.join(', ')}, or whoever asked lacks it`,
      };
      const { status, text } = await connection.call({ what, method: 'POST', url, token, json: { application_credential }, expect: [201, 409], remedies, secrets: [secret.reveal()] }, signal);
      if (status === 201) {
        const { application_credential: made } = jsonOf(what, text) as { readonly application_credential: Row }; // Keystone's answer
        return String(made['id']);
      }
      // Ours, with this secret, of a call whose answer was lost.
      const [id] = await credentialsNamed(userId, name, token, signal);
      if (id === undefined) throw new CloudError('permanent', `${what}: Keystone answered 409, but has none of that name: ${text.slice(0, 200).replaceAll(secret.reveal(), '***')}`);
      return id;
    },

    async removeCredential({ userId, name, id }, token, signal) {
      try {
        const ids = id === undefined ? await credentialsNamed(userId, name, token, signal) : [id];
        for (const each of ids)
          await connection.call({ what: `remove application credential ${name}`, method: 'DELETE', url: `${base}/users/${userId}/application_credentials/${each}`, token, expect: [204, 404] }, signal);
        return true;
      } catch (error) {
        if (isCloudError(error, 401, 403)) return false;
        if (isCloudError(error, 404)) return true; // the user is gone, and all that was its own
        throw error;
      }
    },
  };
}
