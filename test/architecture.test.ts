/** The flow of DESIGN section 2, guarded: http | cli -> registry -> content, upstream -> drivers; oci is a leaf. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

/** What each folder may import from, besides itself. Files in src/ itself (server.ts and its like) compose and see everything. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  oci: [],
  config: ['openstack', 'oci'],
  // Files and commands of a zuul-registry, in our words.
  zuul: ['config', 'oci'],
  tls: [],
  openstack: ['tls'],
  // `workers` for its timers.
  postgres: [],
  drivers: ['postgres', 'openstack', 'workers', 'tls', 'oci'],
  workers: [],
  content: ['drivers', 'oci'],
  // Other registries' stores, read and taken over.
  // `config` and `openstack` for how a store is named, `workers` for its timers.
  migrate: ['content', 'drivers', 'workers', 'zuul', 'config', 'openstack', 'oci'],
  views: ['content', 'config', 'oci'],
  upstream: ['drivers', 'workers', 'tls', 'config', 'oci'],
  registry: ['views', 'content', 'upstream', 'drivers', 'config', 'oci'],
  // `openstack` for Keystone, and for how an authentication service is asked.
  auth: ['openstack', 'config', 'oci'],
  // Of servers' certificates and the authority that signs them; `config` for how files are made.
  certificates: ['config'],
  observe: ['drivers', 'workers', 'config', 'oci'],
  // `workers` for its timers: waiting as an argument.
  http: ['registry', 'views', 'content', 'auth', 'observe', 'drivers', 'upstream', 'workers', 'certificates', 'config', 'oci'],
  // Other programs' files on a machine that Umbra itself need not be on.
  'client-config': ['config', 'oci'],
  // Registries on the nodes of clusters: a service beside the registry, which knows nothing of it.
  clusters: ['postgres', 'bootstrap-wire', 'openstack', 'client-config', 'tls', 'workers', 'config', 'oci'],
  // A registry on such a node; not the service, of which it knows what stands in bootstrap-wire.ts.
  node: ['bootstrap-wire', 'openstack', 'tls', 'workers', 'observe', 'config', 'oci'],
  'bootstrap-wire': [],
  cli: ['clusters', 'zuul', 'client-config', 'certificates', 'config', 'observe', 'oci'],
};
/** Files in src/ itself that compose nothing: words that two folders speak. */
const SHARED: ReadonlySet<string> = new Set(['bootstrap-wire.ts']);
/** Test code and what only tests use. */
const IS_TEST = /\.(test|contract|fixture|property)\.ts$/;

interface Import {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

function sources(): string[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts') && !IS_TEST.test(f));
}

function imports(): Import[] {
  return sources().flatMap((file) => {
    const text = readFileSync(join(SRC, file), 'utf8');
    const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((m) => m[1] as string);
    return specifiers.map((specifier) => {
      const target = relative(SRC, join(SRC, dirname(file), specifier));
      return { file, from: folder(file), to: folder(target) };
    });
  });
}

function folder(path: string): string {
  if (SHARED.has(path)) return path.replace(/\.ts$/, '');
  return path.includes('/') ? (path.split('/')[0] as string) : '';
}

describe('imports point one way', () => {
  it('every folder is known', () => {
    const folders = new Set(sources().map(folder).filter((f) => f !== ''));
    expect([...folders].filter((f) => MAY_IMPORT[f] === undefined)).toEqual([]);
  });

  it('no arrow points up', () => {
    const wrong = imports().filter(({ from, to }) => from !== '' && from !== to && !(MAY_IMPORT[from] ?? []).includes(to) && !(from === 'cli' && to === ''));
    expect(wrong).toEqual([]);
  });

  it('product code imports no test code', () => {
    const wrong = sources().filter((file) => /from\s+'[^']*(?:\.(?:test|contract|fixture)\.ts|\/test\/[^']*)'/.test(readFileSync(join(SRC, file), 'utf8')));
    expect(wrong).toEqual([]);
  });
});
