/**
 * A credential proved by use: logged in as a node will, then the store asked for what the node will do, and for what it
 * must not be able to. Nothing is believed that Keystone or Swift did not just show.
 */
import type { KeystoneAuth } from '../../openstack/identity.ts';
import { pause, type Timers } from '../../workers/timers.ts';
import type { Cloud } from '../keystone/cloud.ts';
import { CloudError } from '../keystone/cloud-error.ts';
import { nobodysContainer, type Place } from '../keystone/containers.ts';
import type { Write } from '../words.ts';

export interface Claim {
  readonly auth: KeystoneAuth;
  /** Whose account the containers are in. */
  readonly projectId: string;
  /** The service project, whose account must stay closed too. */
  readonly serviceProjectId: string | undefined;
  readonly container: string;
  readonly upstreamContainer: string | undefined;
  readonly write: Write;
  /** The container is this cluster's alone, and no entry of ours lets the nodes write there. */
  readonly isClosed: boolean;
  readonly probe: string;
  /** The credential has rules of its own: what they do not name, Swift's `authtoken` takes for a token that is none. */
  readonly hasRules: boolean;
  /** Delegated roles may open the whole project. */
  readonly openProject: boolean;
}

/** What was just granted may take a moment to be seen by every proxy of Swift. */
const TURNS = 5;
const TURNS_CLOSED = 2;
const FIRST_WAIT_MS = 400;

/** @throws CloudError that says what cannot be done, or what can and must not */
export async function prove(cloud: Cloud, timers: Timers, claim: Claim, signal: AbortSignal): Promise<void> {
  let grant = await cloud.logIn(claim.auth, signal);
  const url = cloud.accountOf(grant, claim.projectId);
  let place: Place = { url, token: grant.token };
  const { containers } = cloud;
  const seen = async (what: string, ask: () => Promise<number>, isRight: (status: number) => boolean, turns = TURNS): Promise<void> => {
    for (let turn = 1; ; turn++) {
      const status = await ask();
      if (isRight(status)) return;
      if (turn >= turns) throw new CloudError('permanent', `${what} (Swift answered ${status})`, { status });
      await pause(FIRST_WAIT_MS * 2 ** (turn - 1), timers, signal);
      if (status !== 401) continue;
      // What was changed of the user in the same second revokes tokens made after it.
      grant = await cloud.logIn(claim.auth, signal);
      place = { url, token: grant.token };
    }
  };

  await seen(`the nodes' credential may not read container ${claim.container}`, async () => await containers.list(place, claim.container, signal), isGood);
  const written = [...(claim.write === 'all' ? [claim.container] : []), ...(claim.upstreamContainer === undefined ? [] : [claim.upstreamContainer])];
  for (const name of written) {
    // 413: permitted, and full.
    let isFull = false;
    await seen(`the nodes' credential may not write to container ${name}`, async () => {
      const status = await containers.put(place, name, claim.probe, claim.probe, signal);
      isFull = status === 413;
      return status;
    }, (status) => isGood(status) || status === 413);
    if (isFull) continue;
    await seen(`what the nodes' credential wrote to container ${name} cannot be read`, async () => {
      const { status, text } = await containers.get(place, name, claim.probe, signal);
      return status === 200 && text !== claim.probe ? 409 : status;
    }, isGood);
    await seen(`the nodes' credential may not delete in container ${name}`, async () => await containers.remove(place, name, claim.probe, signal), (status) => isGood(status) || status === 404);
  }

  const closed = async (what: string, ask: () => Promise<number>): Promise<void> => await seen(what, ask, (status) => status === 403 || (claim.hasRules && status === 401), TURNS_CLOSED);
  if (claim.openProject) return;
  const nobodys = nobodysContainer();
  const why = 'is a role that it has one of Swift\'s operator roles? Name another in clusters.roles';
  await closed(`the nodes' credential opens every container of project ${claim.projectId}: ${why}`, async () => await containers.list(place, undefined, signal));
  await closed(`the nodes' credential may write everywhere in project ${claim.projectId}: ${why}`, async () => await containers.put(place, nobodys, claim.probe, claim.probe, signal));
  if (claim.serviceProjectId !== undefined && claim.serviceProjectId !== claim.projectId) {
    const service = cloud.accountOf(grant, claim.serviceProjectId);
    await closed(`the nodes' credential opens the service project: ${why}`, async () => await containers.list({ ...place, url: service }, undefined, signal));
  }
  // Last: where a role opens everything, that is what is to be said.
  if (claim.isClosed)
    await closed(`the nodes' credential may write to container ${claim.container}, which registry_write ${claim.write} forbids`, async () => await containers.put(place, claim.container, claim.probe, claim.probe, signal));
}

function isGood(status: number): boolean {
  return status >= 200 && status < 300;
}
