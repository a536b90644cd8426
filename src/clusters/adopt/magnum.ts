/**
 * A Magnum elsewhere, read as an administrator: its templates and clusters, page by page. What it answers is measured and
 * parsed, not believed: what the documents mean is `described.ts`.
 * https://docs.openstack.org/api-ref/container-infrastructure-management/
 */
import { CloudError, isCloudError } from '../keystone/cloud-error.ts';
import type { Connection } from '../keystone/connection.ts';
import type { Logins } from '../keystone/logins.ts';
import { UUID } from '../words.ts';

export interface Magnum {
  /** Without that, Magnum lists the clusters of one project as if there were no others. @throws CloudError where the service's user is no administrator there */
  mustSeeAll(signal: AbortSignal): Promise<void>;
  /** Pages of all there are, the oldest first. @throws CloudError where it does not answer, or with something else */
  pages(what: 'clustertemplates' | 'clusters', signal: AbortSignal): AsyncIterable<readonly unknown[]>;
  /** Whether Magnum says that it has no such cluster, in any project. @throws CloudError as above */
  isGone(uuid: string, signal: AbortSignal): Promise<boolean>;
}

export interface MagnumDeps {
  /** Without `/v1`. */
  readonly url: string;
  readonly connection: Pick<Connection, 'call'>;
  readonly logins: Pick<Logins, 'as'>;
  /** Of the service's user, for messages. */
  readonly user: string;
  /** Objects in one answer; fewer where that is more than is read. */
  readonly pageSize?: number;
}

/** The most that one answer may have: a page of ordinary clusters has some hundred KiB. */
export const MAX_ANSWER_BYTES: number = 8 * 1024 * 1024;
const PAGE = 100;
const SMALLER = 10;
/** More than any site has; whoever answers with more is not one. */
const MAX_OBJECTS = 100_000;
const HEADERS = { 'openstack-api-version': 'container-infra latest' } as const;

export function openMagnum({ url, connection, logins, user, pageSize = PAGE }: MagnumDeps): Magnum {
  const remedies = { 403: `give user ${user} the role admin in its project: only administrators are told of the clusters of every project` };

  const get = async (what: string, path: string, expect: readonly number[], signal: AbortSignal): Promise<{ readonly status: number; readonly text: string }> =>
    await logins.as('service', async ({ token }) => await connection.call({ what, method: 'GET', url: `${url}/v1/${path}`, token, headers: HEADERS, expect, remedies }, signal), signal);

  async function page(what: string, marker: string | undefined, signal: AbortSignal): Promise<{ readonly objects: readonly unknown[]; readonly isLast: boolean }> {
    const list = what === 'clusters' ? 'clusters/detail' : what;
    for (let limit = pageSize; ; limit = Math.ceil(limit / SMALLER)) {
      const query = new URLSearchParams({ sort_key: 'id', sort_dir: 'asc', limit: String(limit), ...(marker !== undefined && { marker }) });
      try {
        const { text } = await get(`read the ${what} of the Magnum at ${url}`, `${list}?${query.toString()}`, [200], signal);
        const { objects, next } = listOf(text, what);
        return { objects, isLast: next === undefined };
      } catch (error) {
        // One tenant's long labels do not hide the clusters of the others.
        if (limit > 1 && isCloudError(error) && error.failure === 'permanent' && error.status === undefined && !(error instanceof NotMagnum)) continue;
        throw error;
      }
    }
  }

  const mustSeeAll = async (signal: AbortSignal): Promise<void> => void (await get(`ask the Magnum at ${url} whether it tells everything`, 'mservices', [200], signal));

  return {
    mustSeeAll,

    async *pages(what, signal) {
      let marker: string | undefined;
      for (let count = 0; ;) {
        const { objects, isLast } = await page(what, marker, signal);
        yield objects;
        count += objects.length;
        if (isLast || objects.length === 0) return;
        if (count > MAX_OBJECTS) throw new NotMagnum(`${url} has more than ${MAX_OBJECTS} ${what}: expected a Magnum there`);
        // Not the link, which leads where whoever answers likes.
        const last = uuidOf(objects.at(-1));
        if (last === undefined || last === marker) throw new NotMagnum(`${url} does not say how its list of ${what} goes on: expected a Magnum there`);
        marker = last;
      }
    },

    async isGone(uuid, signal) {
      const { status } = await get(`look for cluster ${uuid} in the Magnum at ${url}`, `clusters/${uuid}`, [200, 404], signal);
      // Who has lost the role meanwhile is told 404 too.
      if (status === 404) await mustSeeAll(signal);
      return status === 404;
    },
  };
}

/** An answer, but not Magnum's. */
class NotMagnum extends CloudError {
  constructor(message: string) {
    super('permanent', message);
  }
}

function listOf(text: string, what: string): { readonly objects: readonly unknown[]; readonly next: unknown } {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  const { [what]: objects, next } = recordOf(body) ?? {};
  if (!Array.isArray(objects)) throw new NotMagnum(`there is no list of ${what} in the answer: expected a Magnum at clusters.adopt.magnumUrl`);
  return { objects, next: next ?? undefined };
}

/** Undefined: no object. */
export function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : undefined; // just looked at
}

/** Of a template or cluster. Undefined: it has none by which it could be known here. */
export function uuidOf(object: unknown): string | undefined {
  const uuid = recordOf(object)?.['uuid'];
  return typeof uuid === 'string' && UUID.test(uuid) ? uuid : undefined;
}
