/** The `registry: storage:` of a zuul-registry's configuration in our words. */
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { Secret, type SwiftStorage } from '../config/config.ts';
import { authOf, saidBy } from '../openstack/auth-words.ts';
import { readCloud } from '../openstack/clouds.ts';
import { isMap, Section, type From } from './old-config.ts';

interface Reading {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly fail: (problem: string) => never;
}

export async function zuulStorage(config: Record<string, unknown>, reading: Reading, root: string): Promise<From> {
  const { fail } = reading;
  const registry = isMap(config['registry']) ? config['registry'] : {};
  if (!isMap(registry['storage'])) return fail('registry.storage: expected a map');
  const section = new Section(registry['storage'], 'registry.storage', fail);
  const driver = section.need('driver');
  switch (driver) {
    case 'filesystem':
      return { kind: 'zuul-registry', storage: { driver, root: section.need('root') }, root };
    case 's3':
      return {
        kind: 'zuul-registry',
        storage: {
          driver,
          endpoint: section.text('endpoint'),
          region: section.text('region') ?? 'us-east-1',
          bucket: section.need('bucket'),
          prefix: '',
          credentials: section.text('access-key') === undefined ? undefined : { accessKeyId: section.need('access-key'), secretAccessKey: new Secret(section.need('secret-key')) },
          pathStyle: section.text('endpoint') !== undefined,
          redirect: 'never',
          // Only read from: nothing to find out.
          claims: 'settle',
          ca: undefined,
          insecure: false,
          disk: undefined,
        },
        root,
      };
    case 'swift':
      return { kind: 'zuul-registry', storage: await swift(section, reading), root };
    default:
      return section.fail('driver', 'expected filesystem, swift or s3');
  }
}

/** Who it is to Swift stands in clouds.yaml. */
async function swift(section: Section, { cwd, env }: Reading): Promise<SwiftStorage> {
  const name = section.need('cloud');
  const fail = (problem: string): never => section.fail('cloud', problem);
  const cloud = (() => {
    try {
      return readCloud(name, undefined, { cwd, env, parse: (text) => parse(text, { version: '1.1', prettyErrors: false }) as unknown });
    } catch (error) {
      return fail((error as Error).message); // it throws nothing else
    }
  })();
  const said = saidBy(cloud.values);
  const { auth, problems } = authOf(said.words, (text) => new Secret(text), { kind: said.kind, strict: false });
  if (problems.length > 0) return fail(`the cloud ${name} in ${cloud.path}: ${problems.map(({ word, message }) => `${word}: ${message}`).join('; ')}`);
  return {
    driver: 'swift',
    container: section.need('container'),
    prefix: '',
    region: cloud.region ?? said.region,
    interface: said.interface === 'internal' ? 'internal' : 'public',
    auth,
    segmentBytes: SEGMENT_BYTES,
    account: undefined,
    tempUrlKey: undefined,
    redirect: 'never',
    ca: said.cacert === undefined ? undefined : await readFile(said.cacert, 'utf8'),
    insecure: said.insecure ?? false,
    disk: undefined,
  };
}

/** Of no use: it is only read from. */
const SEGMENT_BYTES = 64 * 1024 * 1024;
