/**
 * The cluster service as somebody of a cloud asks it: a token of Keystone for whoever `clouds.yaml` or the environment names,
 * and where the service answers, by its catalogue unless that is given. One question, one answer; failures say what to do.
 */
import { resolve as resolvePath } from 'node:path';
import { checkedCertificates, readTextFile } from '../../config/files.ts';
import { describeAuth } from '../../openstack/auth.ts';
import { endpointOf, type Service } from '../../openstack/catalogue.ts';
import { Secret } from '../../config/config.ts';
import type { MakeFailure } from '../../openstack/failure.ts';
import { findLogin, type FoundLogin } from '../../openstack/found-login.ts';
import { keystoneToken, type Grant, type KeystoneAuth } from '../../openstack/identity.ts';
import { wire, type WireAnswer, type WireOptions } from '../../openstack/wire.ts';

export interface Asking {
  /** Of `clouds.yaml`; undefined: as the environment says. */
  readonly cloud: string | undefined;
  /** Of the service, with or without `/v1`; undefined: as the catalogue says. */
  readonly url: string | undefined;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface Told {
  /** JSON. */
  readonly body: unknown;
  /** By the service's clock; undefined: it did not say. */
  readonly nowMs: number | undefined;
  /** For messages. */
  readonly url: string;
}

/** The name of the type of service, and what it was called before. */
const TYPES = ['container-infra', 'container-infrastructure-management'];
const DEADLINE_MS = 30_000;
/** Ten thousand nodes with their errors. */
const MAX_BYTES = 32 * 1024 * 1024;
const FAILED: MakeFailure = (_, message, options) => new Error(message, { cause: options?.cause });

/**
 * @param path below `/v1`, without a slash in front
 * @throws Error in words
 */
export async function askService(path: string, asking: Asking): Promise<Told> {
  const { login, auth } = await whoAsks(asking);
  const options = trustOf(login, asking.cwd);
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const token = await late(`Keystone at ${auth.url}`, closing({ ...options, expected: 'Keystone' }, (keystone) => keystoneToken(auth, keystone, FAILED, signal)));
  const url = endpoint(token, login, asking);
  const what = `the cluster service at ${url}`;
  const answer = await late(what, closing({ ...options, expected: 'the cluster service', maxBytes: MAX_BYTES }, async (service) => {
    try {
      return await service.send({ method: 'GET', url: `${url}/v1/${path}`, headers: { 'x-auth-token': token.token, accept: 'application/json' } }, signal);
    } catch (cause) {
      signal.throwIfAborted();
      const hint = asking.url === undefined ? "; its address is that of Keystone's catalogue, --url names another" : '';
      throw new Error(`${what} cannot be asked: ${(cause as Error).message}${hint}`, { cause }); // the wire throws nothing else
    }
  }));
  if (answer.status !== 200) throw refusal(answer, { what, path, auth, token });
  const nowMs = Date.parse(answer.header('date') ?? '');
  return { body: jsonOf(answer), nowMs: Number.isNaN(nowMs) ? undefined : nowMs, url };
}

async function whoAsks({ cloud, cwd, env }: Asking): Promise<{ readonly login: FoundLogin; readonly auth: KeystoneAuth }> {
  // The YAML parser is loaded late, as in config/load.ts.
  const { readForeign } = await import('../../config/document.ts');
  const region = env['OS_REGION_NAME'] === '' ? undefined : env['OS_REGION_NAME'];
  const login = findLogin({ cloud, region }, { cwd, env, parse: readForeign }, (text) => new Secret(text));
  if (login === undefined) throw new Error('nothing says who you are to Keystone: give --os-cloud, or set OS_CLOUD, or OS_AUTH_URL and the other OS_* of an openrc file');
  if (login.problems.length > 0) throw new Error(login.problems.join('\n'));
  if (login.auth.kind === 'tempauth') throw new Error(`${login.where} is a login to Swift alone (${login.auth.url}); the cluster service wants a token of Keystone`);
  return { login, auth: login.auth };
}

function trustOf({ cacert, insecure, where }: FoundLogin, cwd: string): Pick<WireOptions, 'ca' | 'insecure' | 'failed' | 'caKey'> {
  const path = cacert === undefined ? undefined : resolvePath(cwd, cacert);
  return {
    ca: path === undefined ? undefined : checkedCertificates(readTextFile(path), path),
    insecure: insecure ?? false,
    failed: FAILED,
    caKey: where === 'the environment' ? 'OS_CACERT' : `cacert of ${where}`,
  };
}

/** Without `/v1`. */
function endpoint({ catalogue }: Grant, { region, interface: side = 'public' }: FoundLogin, { url }: Asking): string {
  const bare = (text: string): string => text.replace(/\/+$/, '').replace(/\/v1$/, '');
  if (url !== undefined) return bare(url);
  const type = TYPES.find((one) => catalogue.some((service: Service) => service.type === one)) ?? 'container-infra';
  const found = endpointOf(catalogue, { type, region, interface: side });
  if ('problem' in found) throw new Error(`Keystone does not say where the cluster service is: ${found.problem}. Give --url`);
  return bare(found.url);
}

interface Question {
  readonly what: string;
  readonly path: string;
  readonly auth: KeystoneAuth;
  readonly token: Grant;
}

function refusal(answer: WireAnswer, { what, path, auth, token }: Question): Error {
  const { status } = answer;
  const detail = detailOf(answer)?.replaceAll(token.token, '***');
  const said = detail === undefined ? '' : `: ${detail}`;
  if (status === 401) return new Error(`${what} does not take the token that Keystone at ${auth.url} gave to ${describeAuth(auth)}: does it ask the same Keystone?`);
  if (status === 403) return new Error(`${what} refuses ${describeAuth(auth)}${said}`);
  if (status === 404 && detail?.startsWith('Cluster ') === true) return new Error(`${detail} Seen are those of ${token.project === undefined ? 'your project' : `the project ${JSON.stringify(token.project.name)}`}, by name or UUID`);
  if (status === 404) return new Error(`${what} does not know /v1/${path} (404${said}): is it Umbra's?`);
  if (status === 409 && detail !== undefined) return new Error(detail);
  return new Error(`${what} answered ${status}${said}${status >= 500 ? '; its log says more' : ''}`);
}

/** https://specs.openstack.org/openstack/api-sig/guidelines/errors.html */
function detailOf({ text }: WireAnswer): string | undefined {
  try {
    const { errors } = JSON.parse(text) as { readonly errors?: readonly { readonly detail?: unknown }[] };
    const detail = errors?.[0]?.detail;
    return typeof detail === 'string' ? detail.replaceAll(/[\s\p{Cc}]+/gu, ' ') : undefined;
  } catch {
    return undefined;
  }
}

function jsonOf({ text }: WireAnswer): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function closing<T>(options: WireOptions, use: (open: ReturnType<typeof wire>) => Promise<T>): Promise<T> {
  const open = wire(options);
  try {
    return await use(open);
  } finally {
    await open.close();
  }
}

async function late<T>(who: string, asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'TimeoutError') throw new Error(`${who} does not answer within ${DEADLINE_MS / 1000} s`, { cause: error });
    throw error;
  }
}
