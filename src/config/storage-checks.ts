/** Which keys of a store go with which driver, and what must hold between two stores. */
import { describeAuth, type OpenStackLogin } from '../openstack/auth.ts';
import type { Report } from './checks.ts';
import type { DiskConfig, StorageConfig } from './config.ts';
import { formatPath, type Path } from './problem.ts';
import type { StorageSettings } from './settings.ts';

type Driver = StorageSettings['driver'];
type Key = Exclude<keyof StorageSettings, 'driver'>;

const SWIFT: readonly Driver[] = ['swift'];
const S3: readonly Driver[] = ['s3'];
const OBJECT_STORES: readonly Driver[] = ['swift', 's3'];
const DRIVERS: Readonly<Record<Key, readonly Driver[]>> = {
  root: ['filesystem'],
  maxBytes: ['filesystem'],
  container: SWIFT,
  account: SWIFT,
  interface: SWIFT,
  auth: SWIFT,
  cloud: SWIFT,
  segmentSize: SWIFT,
  tempUrlKey: SWIFT,
  tempUrlKeyFile: SWIFT,
  bucket: S3,
  endpoint: S3,
  accessKeyId: S3,
  secretAccessKey: S3,
  secretAccessKeyFile: S3,
  pathStyle: S3,
  claims: S3,
  prefix: OBJECT_STORES,
  region: OBJECT_STORES,
  redirect: OBJECT_STORES,
  ca: OBJECT_STORES,
  insecure: OBJECT_STORES,
  disk: OBJECT_STORES,
};

export function checkStorage(at: Path, storage: StorageSettings, report: Report): void {
  const { driver, accessKeyId, secretAccessKey, secretAccessKeyFile } = storage;
  for (const [key, drivers] of Object.entries(DRIVERS) as readonly [Key, readonly Driver[]][] /* a record's own keys */) {
    if (storage[key] !== undefined && !drivers.includes(driver)) report([...at, key], `belongs to driver: ${drivers.join(' or ')}; this is driver: ${driver}`);
  }
  if (driver === 'filesystem' && storage.maxBytes !== undefined && at[0] !== 'upstreamStorage') report([...at, 'maxBytes'], 'expected only in upstreamStorage: images that were pushed are not to be had again');
  if (driver === 'swift') {
    if (storage.container === undefined) report([...at, 'container'], 'missing: the name of the container');
    if (storage.auth !== undefined && storage.cloud !== undefined) report([...at, 'cloud'], 'expected auth or cloud, got both');
    checkOne(at, ['tempUrlKey', 'tempUrlKeyFile'], storage, report);
  }
  if (driver === 's3') {
    if (storage.bucket === undefined) report([...at, 'bucket'], 'missing: the name of the bucket');
    const hasSecret = secretAccessKey !== undefined || secretAccessKeyFile !== undefined;
    if (accessKeyId !== undefined && !hasSecret) report([...at, 'accessKeyId'], 'expected secretAccessKey or secretAccessKeyFile with it');
    if (accessKeyId === undefined && hasSecret) report([...at, secretAccessKey === undefined ? 'secretAccessKeyFile' : 'secretAccessKey'], 'expected accessKeyId with it');
    checkOne(at, ['secretAccessKey', 'secretAccessKeyFile'], storage, report);
  }
}

/** A secret stands here or in a file. */
function checkOne(at: Path, [key, file]: readonly [Key, Key], storage: StorageSettings, report: Report): void {
  if (storage[key] !== undefined && storage[file] !== undefined) report([...at, file], `expected ${key} or ${file}, got both`);
}

/** Two stores in one place would sweep each other's keys; two caches in one folder each other's files. */
export function checkTwoStores(storage: StorageConfig, upstream: StorageConfig, report: Report): void {
  for (const { key, place } of placesOf(upstream)) {
    const other = placesOf(storage).find((first) => place.startsWith(first.place) || first.place.startsWith(place));
    if (other !== undefined) report(['upstreamStorage', ...key], `expected a place of its own, apart from ${formatPath(['storage', ...other.key])}`, ['storage']);
  }
}

/** Names the store: another name, another store. Holds what identifies us, so it is not to be shown. */
export function placeOf(storage: StorageConfig): string {
  return placesOf(storage)[0]?.place ?? storage.driver;
}

/** Storage may be shared by machines that must sign neither tokens nor certificates. */
export function checkKeyFile(at: Path, keyFile: string, storage: StorageConfig, report: Report): void {
  for (const { folder } of placesOf(storage)) {
    if (folder !== undefined && `${keyFile}/`.startsWith(folder))
      report(at, `expected a file outside of the storage, ${folder.slice(0, -1)}`, ['storage', 'upstreamStorage']);
  }
}

interface Occupied {
  readonly key: Path;
  /** Everything below this is the store's. */
  readonly place: string;
  readonly folder?: string;
}

function placesOf(storage: StorageConfig): readonly Occupied[] {
  switch (storage.driver) {
    case 'memory':
      return [];
    case 'filesystem':
      return [folderOf(['root'], storage.root)];
    case 'swift':
      return [{ key: ['container'], place: `swift ${JSON.stringify([storage.auth.kind === 'file' ? storage.auth.path : storage.auth.url, storage.region, storage.account ?? projectOf(storage.auth), storage.container])} ${storage.prefix}` }, ...diskOf(storage)];
    case 's3':
      return [{ key: ['bucket'], place: `s3 ${storage.endpoint ?? storage.region} ${storage.bucket} ${storage.prefix}` }, ...diskOf(storage)];
  }
}

function diskOf({ disk }: { readonly disk: DiskConfig | undefined }): readonly Occupied[] {
  return disk === undefined ? [] : [folderOf(['disk', 'root'], disk.root)];
}

function folderOf(key: Path, root: string): Occupied {
  const folder = root.endsWith('/') ? root : `${root}/`;
  return { key, place: `file ${folder}`, folder };
}

/** Whose account it is, as far as the configuration tells. */
function projectOf(auth: OpenStackLogin): unknown {
  if (auth.kind === 'trust') return auth.trustId.reveal();
  return auth.kind === 'password' ? auth.project : describeAuth(auth);
}
