/** The service's own tokens: as its user, and as the administrator of the domain of nodes' users. Each is one for all who ask, renewed in time. */
import type { Qualified, Reference } from '../../openstack/auth.ts';
import { domainToken, holderOf, identityUrl, keystoneToken, type Body, type Grant, type TokenHolder } from '../../openstack/identity.ts';
import { CloudError, cloudFailure, isCloudError } from './cloud-error.ts';
import { jsonOf, type Connection } from './connection.ts';
import type { CloudSettings } from './settings.ts';

export interface Logins {
  /** As the service's user in its project. */
  service(signal: AbortSignal): Promise<Grant>;
  /** As the administrator of the trustee domain. @throws CloudError where none is configured */
  admin(signal: AbortSignal): Promise<Grant>;
  /** Runs with such a token, once more with another where the first is refused with 401. */
  as<T>(who: 'service' | 'admin', task: (grant: Grant) => Promise<T>, signal: AbortSignal): Promise<T>;
  /** Whose token that is. Undefined: it is not good any more. */
  holder(token: string, signal: AbortSignal): Promise<TokenHolder | undefined>;
  close(): void;
}

export interface LoginsDeps {
  readonly settings: CloudSettings;
  readonly connection: Connection;
  readonly nowMs: () => number;
}

/** A token is used for this share of its life. */
const SHARE = 0.75;
const UNTOLD_MS = 300_000;

interface Held {
  readonly grant: Promise<Grant>;
  untilMs: number;
}

export function logins({ settings, connection, nowMs }: LoginsDeps): Logins {
  const held = new Map<'service' | 'admin', Held>();
  const { url, trusteeDomain, service } = settings;

  const ask = {
    service: async (signal: AbortSignal): Promise<Grant> => await keystoneToken({ kind: 'password', url, ...service }, connection.wire, cloudFailure, signal),
    admin: async (signal: AbortSignal): Promise<Grant> => {
      if (trusteeDomain === undefined) throw new CloudError('permanent', 'there is no clusters.trusteeDomain in which users of nodes could be made');
      const { domain, admin: user, password } = trusteeDomain;
      return await domainToken({ url, user, domain, password }, connection.wire, cloudFailure, signal);
    },
  };

  const closing = new AbortController(); // whoever asked first may leave while others wait
  const log = (who: 'service' | 'admin'): Held => {
    const kept = held.get(who);
    if (kept !== undefined && nowMs() < kept.untilMs) return kept;
    const askedMs = nowMs();
    const entry: Held = { untilMs: Number.POSITIVE_INFINITY, grant: connection.run(`log in to Keystone at ${url}`, ask[who], closing.signal) };
    held.set(who, entry);
    entry.grant.then(
      ({ lifetimeMs = UNTOLD_MS }) => void (entry.untilMs = askedMs + SHARE * lifetimeMs),
      () => void (held.get(who) === entry && held.delete(who)),
    );
    return entry;
  };
  const get = async (who: 'service' | 'admin', signal: AbortSignal): Promise<Grant> => {
    signal.throwIfAborted();
    return await log(who).grant;
  };

  return {
    service: async (signal) => await get('service', signal),
    admin: async (signal) => await get('admin', signal),
    async as(who, task, signal) {
      const grant = await get(who, signal);
      try {
        return await task(grant);
      } catch (error) {
        if (!isCloudError(error, 401)) throw error;
        held.delete(who);
        return await task(await get(who, signal));
      }
    },
    close: () => closing.abort(new Error('the clusters service is closed')),
    async holder(token, signal) {
      try {
        const answer = await connection.call({ what: 'look whose token it is', method: 'GET', url: `${identityUrl(url)}/auth/tokens`, token, headers: { 'x-subject-token': token }, expect: [200] }, signal);
        const { token: about } = jsonOf('look whose token it is', answer.text) as Body; // Keystone's answer
        return about === undefined ? undefined : holderOf(about);
      } catch (error) {
        if (isCloudError(error, 401, 403, 404)) return undefined;
        throw error;
      }
    },
  };
}

/** As a query of Keystone's lists. */
export function queryOf(name: string, domainId: string): string {
  return new URLSearchParams({ name, domain_id: domainId }).toString();
}

/** In messages. */
export function describeReference(who: Reference | Qualified): string {
  return 'id' in who ? `with id ${who.id}` : JSON.stringify(who.name);
}
