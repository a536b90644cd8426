/** Containers of clusters in their project's account: made, with a quota, opened to one user by their access lists, emptied. Whoever has a token may call. */
import { randomUUID } from 'node:crypto';
import type { WireAnswer } from '../../openstack/wire.ts';
import { CloudError } from './cloud-error.ts';
import { jsonOf, type Call, type Connection } from './connection.ts';

/** Where and as whom. */
export interface Place {
  /** Of the account, without a `/` at its end. */
  readonly url: string;
  readonly token: string;
}

export interface AccessList {
  /** Entries as `X-Container-Read` has them: `<project>:<user>`, role names, `.r:*`, … */
  readonly read: readonly string[];
  readonly write: readonly string[];
}

export interface Containers {
  /** Undefined: there is none. */
  look(place: Place, name: string, signal: AbortSignal): Promise<(AccessList & { readonly hasQuota: boolean }) | undefined>;
  /** Makes it, or leaves it. */
  make(place: Place, name: string, clusterUuid: string, signal: AbortSignal): Promise<void>;
  /** Undefined: no bound. Swift then answers 413 to what would exceed it. */
  setQuota(place: Place, name: string, bytes: number | undefined, signal: AbortSignal): Promise<void>;
  setAccess(place: Place, name: string, access: AccessList, signal: AbortSignal): Promise<void>;
  /** Only where nothing is in it. @returns whether it is gone now */
  removeEmpty(place: Place, name: string, signal: AbortSignal): Promise<boolean>;
  /** With everything in it. Gone already: no error. */
  purge(place: Place, name: string, signal: AbortSignal): Promise<void>;
  put(place: Place, name: string, object: string, text: string, signal: AbortSignal): Promise<number>;
  get(place: Place, name: string, object: string, signal: AbortSignal): Promise<{ readonly status: number; readonly text: string }>;
  remove(place: Place, name: string, object: string, signal: AbortSignal): Promise<number>;
  /** Status of a listing of the container; without a name, of the account. */
  list(place: Place, name: string | undefined, signal: AbortSignal): Promise<number>;
}

/** Statuses of what is asked to learn whether it is permitted. */
const ANY_VERDICT: readonly number[] = [200, 201, 202, 204, 401, 403, 404, 405, 409, 413];
const PAGE = 1_000;
const TURNS = 1_000;

export function containers(connection: Connection): Containers {
  const urlOf = ({ url }: Place, name: string, object?: string): string =>
    `${url}/${encodeURIComponent(name)}${object === undefined ? '' : `/${object.split('/').map(encodeURIComponent).join('/')}`}`;
  const call = async (place: Place, what: string, method: Call['method'], url: string, expect: readonly number[], signal: AbortSignal, more: Partial<Call> = {}): Promise<WireAnswer> =>
    await connection.call({ what, method, url, token: place.token, expect, ...more }, signal);

  const remove = async (place: Place, name: string, object: string, signal: AbortSignal): Promise<number> =>
    (await call(place, `remove object ${object} of container ${name}`, 'DELETE', urlOf(place, name, object), ANY_VERDICT, signal)).status;

  async function empty(place: Place, name: string, names: readonly string[], signal: AbortSignal): Promise<void> {
    const text = names.map((object) => `/${encodeURIComponent(name)}/${object.split('/').map(encodeURIComponent).join('/')}`).join('\n');
    const answer = await call(place, `remove what is in container ${name}`, 'POST', `${place.url}?bulk-delete`, [200, 202, 204, 404, 405, 412], signal, { text, headers: { 'content-type': 'text/plain' } });
    const { Errors: errors } = answer.status === 200 ? (jsonOf(`remove what is in container ${name}`, answer.text) as { readonly Errors?: readonly unknown[] }) : { Errors: undefined }; // Swift's answer
    if (errors?.length === 0) return;
    // Without the bulk middleware, or where it says that some were left: one by one.
    for (const object of names) {
      const status = await remove(place, name, object, signal);
      if (status === 401 || status === 403) throw new CloudError('permanent', `remove object ${object} of container ${name}: Swift answered ${status}`, { status });
    }
  }

  return {
    remove,
    async look(place, name, signal) {
      const { status, header } = await call(place, `look at container ${name}`, 'HEAD', urlOf(place, name), [200, 204, 404], signal);
      return status === 404 ? undefined : { read: entries(header('x-container-read')), write: entries(header('x-container-write')), hasQuota: header('x-container-meta-quota-bytes') !== undefined };
    },
    async make(place, name, clusterUuid, signal) {
      await call(place, `make container ${name}`, 'PUT', urlOf(place, name), [201, 202], signal, { headers: { 'x-container-meta-umbra-cluster': clusterUuid } });
    },
    async setQuota(place, name, bytes, signal) {
      await call(place, `set the quota of container ${name}`, 'POST', urlOf(place, name), [201, 202, 204], signal, { headers: bytes === undefined ? { 'x-remove-container-meta-quota-bytes': 'yes' } : { 'x-container-meta-quota-bytes': String(bytes) } });
    },
    async setAccess(place, name, { read, write }, signal) {
      await call(place, `set the access list of container ${name}`, 'POST', urlOf(place, name), [201, 202, 204, 404], signal, { headers: { 'x-container-read': read.join(','), 'x-container-write': write.join(',') } });
    },
    async removeEmpty(place, name, signal) {
      const { status } = await call(place, `remove container ${name}`, 'DELETE', urlOf(place, name), [204, 404, 409], signal);
      return status !== 409;
    },
    async purge(place, name, signal) {
      for (let turn = 1; turn <= TURNS; turn++) {
        const { status, text } = await call(place, `list container ${name}`, 'GET', `${urlOf(place, name)}?format=json&limit=${PAGE}`, [200, 204, 404], signal);
        if (status === 404) return;
        const names = status === 204 ? [] : (jsonOf(`list container ${name}`, text) as readonly { readonly name: string }[]).map((row) => row.name); // Swift's listing
        if (names.length > 0) await empty(place, name, names, signal);
        else if ((await call(place, `remove container ${name}`, 'DELETE', urlOf(place, name), [204, 404, 409], signal)).status !== 409) return;
        // 409: written to meanwhile, or the listing lags; the next attempt tells.
        else if (turn >= 5) break;
      }
      throw new CloudError('retryable', `container ${name} does not become empty: something still writes to it`);
    },
    async put(place, name, object, text, signal) {
      return (await call(place, `write object ${object} of container ${name}`, 'PUT', urlOf(place, name, object), ANY_VERDICT, signal, { text, headers: { 'content-type': 'text/plain' } })).status;
    },
    async get(place, name, object, signal) {
      return await call(place, `read object ${object} of container ${name}`, 'GET', urlOf(place, name, object), ANY_VERDICT, signal);
    },
    async list(place, name, signal) {
      const what = name === undefined ? 'list the account' : `list container ${name}`;
      return (await call(place, what, 'GET', `${name === undefined ? place.url : urlOf(place, name)}?limit=1`, ANY_VERDICT, signal)).status;
    },
  };
}

function entries(header: string | undefined): readonly string[] {
  return (header ?? '').split(',').map((entry) => entry.trim()).filter((entry) => entry !== '');
}

/** A container that nobody has: whoever gets 404 there may look around in the account, whoever gets 403 may not. */
export function nobodysContainer(): string {
  return `umbra-nobodys-${randomUUID()}`;
}
