/**
 * The `storage:` of a Distribution 2.x configuration in our words (distribution 2.8 `docs/configuration.md` and
 * `registry/storage/driver/{filesystem,swift,s3-aws}`). `REGISTRY_STORAGE_<DRIVER>_<KEY>` outranks the file, as there.
 */
import { readFile } from 'node:fs/promises';
import { Secret, type S3Storage, type SwiftStorage } from '../config/config.ts';
import type { OpenStackAuth, Reference } from '../openstack/auth.ts';
import { isMap, Section, type From } from './old-config.ts';

interface Reading {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly fail: (problem: string) => never;
}

/** Of `storage:`, but no driver. */
const NOT_DRIVERS: ReadonlySet<string> = new Set(['cache', 'delete', 'maintenance', 'redirect', 'tag']);
const DEFAULT_ROOT = '/var/lib/registry';
const SEGMENT_BYTES = 64 * 1024 * 1024;

export async function distributionStorage(config: Record<string, unknown>, { env, fail }: Reading, root: string): Promise<From> {
  const all = override(config['storage'], env);
  const drivers = Object.keys(all).filter((key) => !NOT_DRIVERS.has(key));
  const [driver] = drivers;
  if (driver === undefined || drivers.length > 1) return fail(`storage: expected one driver, found ${drivers.length === 0 ? 'none' : drivers.join(', ')}`);
  const section = new Section(isMap(all[driver]) ? all[driver] : {}, `storage.${driver}`, fail);
  switch (driver) {
    case 'filesystem':
      return { kind: 'distribution', storage: { driver: 'filesystem', root: section.text('rootdirectory') ?? DEFAULT_ROOT }, root };
    case 'swift':
      return { kind: 'distribution', storage: await swift(section), root: below(section.text('prefix'), `files/${root}`) };
    case 's3':
      return { kind: 'distribution', storage: await s3(section), root: below(section.text('rootdirectory'), root) };
    default:
      return fail(`storage.${driver}: only filesystem, s3 and swift can be read; copy such a registry with \`skopeo sync\` instead`);
  }
}

/** Prefixes are written with slashes around them or without. */
function below(prefix: string | undefined, root: string): string {
  const trimmed = (prefix ?? '').replace(/^\/+|\/+$/g, '');
  return trimmed === '' ? root : `${trimmed}/${root}`;
}

function override(storage: unknown, env: Reading['env']): Record<string, unknown> {
  const named = env['REGISTRY_STORAGE'];
  const all: Record<string, unknown> = typeof storage === 'string' ? { [storage]: {} } : { ...(isMap(storage) ? storage : {}) };
  if (named !== undefined) {
    for (const key of Object.keys(all)) if (!NOT_DRIVERS.has(key) && key !== named) delete all[key];
    all[named] ??= {};
  }
  for (const [name, value] of Object.entries(env)) {
    const [, driver, key] = /^REGISTRY_STORAGE_(FILESYSTEM|SWIFT|S3)_([A-Z]+)$/.exec(name) ?? [];
    if (driver === undefined || key === undefined) continue;
    const section = all[driver.toLowerCase()];
    all[driver.toLowerCase()] = { ...(isMap(section) ? section : {}), [key.toLowerCase()]: value };
  }
  return all;
}

async function swift(section: Section): Promise<SwiftStorage> {
  return {
    driver: 'swift',
    container: section.need('container'),
    prefix: '',
    region: section.text('region'),
    interface: section.text('endpointtype')?.startsWith('internal') === true ? 'internal' : 'public',
    auth: openStackAuth(section),
    segmentBytes: SEGMENT_BYTES,
    account: undefined,
    tempUrlKey: undefined,
    redirect: 'never',
    ca: undefined,
    insecure: section.flag('insecureskipverify', false),
    disk: undefined,
  };
}

function openStackAuth(section: Section): OpenStackAuth {
  const url = section.need('authurl').replace(/\/+$/, '');
  const username = section.need('username');
  const password = new Secret(section.need('password'));
  const version = section.text('authversion') ?? /\/v([123])(?:\.\d+)?$/.exec(url)?.[1] ?? '3';
  if (version === '1') return { kind: 'tempauth', url, username, password };
  if (version !== '3') section.fail('authurl', 'Keystone v2 is gone: give the URL of v3, such as https://keystone.example.org:5000/v3');
  const userDomain = domain(section, 'domain', 'domainid') ?? { name: 'Default' };
  const user = { name: username, domain: userDomain };
  const trustId = section.text('trustid');
  if (trustId !== undefined) return { kind: 'trust', url, user, password, trustId: new Secret(trustId) };
  const projectId = section.text('tenantid');
  const project = projectId === undefined ? { name: section.need('tenant'), domain: domain(section, 'tenantdomain', 'tenantdomainid') ?? userDomain } : { id: projectId };
  return { kind: 'password', url, user, password, project };
}

function domain(section: Section, name: string, id: string): Reference | undefined {
  const [byName, byId] = [section.text(name), section.text(id)];
  if (byName !== undefined) return { name: byName };
  return byId === undefined ? undefined : { id: byId };
}

async function s3(section: Section): Promise<S3Storage> {
  const endpoint = section.text('regionendpoint');
  const accessKeyId = section.text('accesskey');
  const scheme = section.flag('secure', true) ? 'https' : 'http';
  const ca = section.text('rootcacertificate');
  return {
    driver: 's3',
    endpoint: endpoint === undefined || /^https?:\/\//.test(endpoint) ? endpoint : `${scheme}://${endpoint}`,
    region: section.text('region') ?? 'us-east-1',
    bucket: section.need('bucket'),
    prefix: '',
    credentials: accessKeyId === undefined ? undefined : { accessKeyId, secretAccessKey: new Secret(section.need('secretkey')) },
    // Distribution's driver does so whenever it is given an endpoint.
    pathStyle: endpoint !== undefined || section.flag('forcepathstyle', false),
    redirect: 'never',
    // Only read from: nothing to find out.
    claims: 'settle',
    ca: ca === undefined ? undefined : await readFile(ca, 'utf8'),
    insecure: section.flag('skipverify', false),
    disk: undefined,
  };
}
