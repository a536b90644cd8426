/**
 * Keystone and Swift from Debian's packages on loopback, for the tests that need a real object store. One pair serves a
 * whole run; tests keep apart by containers of their own.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, run } from './command.ts';

/** What a client needs, as `openstack/up` exports it. */
export interface OpenStackSettings {
  /** The folder that everything is in. */
  readonly state: string;
  /** Keystone, with `/v3`. */
  readonly authUrl: string;
  readonly region: string;
  /** A member of the project `demo`, all in the domain Default. */
  readonly username: string;
  readonly password: string;
  readonly project: string;
  readonly domain: string;
  readonly userId: string;
  readonly projectId: string;
  readonly adminPassword: string;
  readonly applicationCredential: { readonly id: string; readonly name: string; readonly secret: string };
  /** `username` has no role but by this trust of demo's. */
  readonly trust: { readonly id: string; readonly username: string; readonly password: string; readonly userId: string };
  /** Swift's origin, and the account's URL below it. */
  readonly swiftOrigin: string;
  readonly accountUrl: string;
  readonly tempUrlKey: string;
  /** Of Swift's s3api, which answers at `swiftOrigin`. */
  readonly s3: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

/** A Swift whose users TempAuth keeps. */
export interface TempAuthSettings {
  /** With `/auth/v1.0`. */
  readonly url: string;
  /** `account:user`, and the account is theirs. */
  readonly username: string;
  readonly password: string;
  /** A user of the same account with the same password and no right to anything. */
  readonly guest: string;
}

export interface OpenStack extends AsyncDisposable {
  readonly settings: OpenStackSettings;
}

const SCRIPTS = join(import.meta.dirname, 'openstack');
const START_MS = 180_000;

/**
 * Starts both, in a folder of their own that goes with them.
 * @param running the state folder of a pair that runs already and is left running: `UMBRA_TEST_OPENSTACK`, for those who
 * run tests again and again
 * @param accessRules Swift keeps to those of application credentials, which it does not where nobody tells it of what kind it is
 */
export async function startOpenStack(running?: string, { accessRules = false }: { readonly accessRules?: boolean } = {}): Promise<OpenStack> {
  if (running !== undefined) return { settings: await readSettings(running), [Symbol.asyncDispose]: async () => undefined };
  const state = await mkdtemp('/tmp/umbra-openstack-'); // short: memcached's and uwsgi's paths
  const stop = async (): Promise<void> => void (await attempt(join(SCRIPTS, 'down'), ['--purge', state]));
  try {
    await run(join(SCRIPTS, 'up'), [], { env: { OPENSTACK_STATE: state, ...(accessRules && { OPENSTACK_ACCESS_RULES: 'yes' }) }, timeoutMs: START_MS });
    return { settings: await readSettings(state), [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** One more proxy over the same Swift, with accounts of its own; it ends with the others. */
export async function startTempAuth({ state }: Pick<OpenStackSettings, 'state'>): Promise<TempAuthSettings> {
  const value = exportsOf(await run(join(SCRIPTS, 'up'), [], { env: { OPENSTACK_STATE: state, OPENSTACK_TEMPAUTH: 'yes' }, timeoutMs: START_MS }), `${SCRIPTS}/up`);
  return { url: value('TEMPAUTH_URL'), username: value('TEMPAUTH_USER'), password: value('TEMPAUTH_KEY'), guest: value('TEMPAUTH_GUEST') };
}

/** A container's name that no other test uses. */
export function freshContainer(what = 'test'): string {
  return `umbra-${what}-${randomBytes(6).toString('hex')}`;
}

async function readSettings(state: string): Promise<OpenStackSettings> {
  const value = exportsOf(await readFile(join(state, 'env'), 'utf8'), `${state}/env`);
  return {
    state,
    authUrl: value('OS_AUTH_URL'),
    region: value('OS_REGION_NAME'),
    username: value('OS_USERNAME'),
    password: value('OS_PASSWORD'),
    project: value('OS_PROJECT_NAME'),
    domain: value('OS_USER_DOMAIN_NAME'),
    userId: value('KEYSTONE_DEMO_USER_ID'),
    projectId: value('KEYSTONE_DEMO_PROJECT_ID'),
    adminPassword: value('KEYSTONE_ADMIN_PASSWORD'),
    applicationCredential: { id: value('KEYSTONE_APP_CRED_ID'), name: value('KEYSTONE_APP_CRED_NAME'), secret: value('KEYSTONE_APP_CRED_SECRET') },
    trust: {
      id: value('KEYSTONE_TRUST_ID'), username: value('KEYSTONE_TRUSTEE_USERNAME'),
      password: value('KEYSTONE_TRUSTEE_PASSWORD'), userId: value('KEYSTONE_TRUSTEE_USER_ID'),
    },
    swiftOrigin: value('SWIFT_ENDPOINT'),
    accountUrl: value('SWIFT_URL'),
    tempUrlKey: value('SWIFT_TEMPURL_KEY'),
    s3: { accessKeyId: value('SWIFT_S3_ACCESS_KEY'), secretAccessKey: value('SWIFT_S3_SECRET_KEY') },
  };
}

/** Looks up what a shell would have of it. */
function exportsOf(exported: string, where: string): (name: string) => string {
  const values = new Map(Array.from(exported.matchAll(/^export ([A-Z0-9_]+)=(?:'([^']*)'|(\S*))$/gm), ([, name, quoted, plain]) => [name, quoted ?? plain]));
  return (name) => {
    const found = values.get(name);
    if (found === undefined) throw new Error(`${where} does not export ${name}`);
    return found;
  };
}
