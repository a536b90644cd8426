/** What is deployed: the image that `make image` builds, and Zuul's role that runs it in place of zuul-registry. */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEBIAN_PATH, run } from '../services/command.ts';
import { Containers } from '../services/containers.ts';
import { freePort } from '../services/ports.ts';
import { knowKeys, knowSecrets, watchSaid } from '../support/secret-watch.ts';
import { registryYaml, selfSigned } from './buildset-registry.ts';
import { makeImage, writeLayout } from './images.ts';
import { RegistryClient } from './registry-client.ts';

const ROOT = join(import.meta.dirname, '../..');
const SERVICES = join(ROOT, 'test/services');

describe('the image', () => {
  let dir: string;
  let host: Containers;
  let image: string;
  beforeAll(async () => {
    dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
    await mkdir(dir, { mode: 0o755 });
    host = await Containers.create(join(dir, 'p'));
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    const layout = join(dir, 'layout');
    await run(join(ROOT, 'deploy/image/build'), ['--out', layout], {
      // Proxies and authorities of the machine are for those who download.
      env: { ...(process.env as Record<string, string>), PATH: `${dirname(process.execPath)}:${DEBIAN_PATH}`, TMPDIR: dir }, timeoutMs: 290_000,
    });
    image = (await host.podman(['pull', '--quiet', `oci:${layout}:umbra:${version}`])).trim();
    await host.podman(['tag', image, 'localhost/umbra']);
  });
  afterAll(async () => {
    await host?.podman(['rm', '--all', '--force', '--time', '5']);
    await rm(dir, { recursive: true });
  });

  test('has what zuul-registry’s has, and runs as no root', async () => {
    const { Config: config, RootFS: files } = (JSON.parse(await host.podman(['image', 'inspect', image])) as [{ Config: Record<string, unknown>; RootFS: { Layers: string[] } }])[0];
    expect(config).toMatchObject({ User: '1000:1000', Volumes: { '/conf': {}, '/tls': {}, '/storage': {} }, Cmd: ['umbra', 'serve', '-c', '/conf/umbra.yaml'] });
    expect(files.Layers).toHaveLength(2);
    expect(await inside(['umbra', 'version'])).toMatch(/^umbra \d+\.\d+\.\d+ \(node v\d+/);
    expect(await inside(['zuul-registry', '--help'])).toContain('registry.yaml');
    expect(await inside(['sh', '-c', 'echo $(umbra version >/dev/null && echo works)'])).toBe('works\n');
  });

  test('is the registry of a buildset, run as zuul-jobs run zuul-registry', async () => {
    const port = await freePort();
    const [conf, tls, storage] = await Promise.all(['conf', 'tls', 'storage'].map(async (name) => {
      await mkdir(join(dir, 'registry', name), { recursive: true });
      return join(dir, 'registry', name);
    })) as [string, string, string];
    const cert = await selfSigned(tls);
    const config = { registry: { ...registryYaml({ port, tls: '/tls' }), storage: { driver: 'filesystem', root: '/storage' } }, upstreams: {} };
    knowSecrets(config);
    knowKeys(join(tls, 'cert.key'));
    await writeFile(join(conf, 'registry.yaml'), stringify(config));
    // By whom it is run there: it reads the key that only its owner may read.
    for (const file of [storage, join(tls, 'cert.key'), join(conf, 'registry.yaml')]) await run('chown', ['1000:1000', file]);
    const id = (await host.podman(['run', '-d', '--restart=always', '--network=host', `--volume=${tls}:/tls`, `--volume=${conf}:/conf`, `--volume=${storage}:/storage`, 'localhost/umbra', 'zuul-registry', '-d'])).trim();
    await host.trust(`127.0.0.1:${port}`, cert);
    await ready(port, cert);
    const layout = join(dir, 'own');
    await writeLayout(layout, 'x', await makeImage({ marker: 'into a container' }));
    await host.skopeo(['copy', '--dest-creds', 'zuul:pw:of zuul', `oci:${layout}:x`, `docker://127.0.0.1:${port}/org/app:1`]);
    await host.podman(['restart', '--time', '30', id]);
    await ready(port, cert);
    expect(await host.skopeo(['inspect', '--format', '{{.Labels.marker}}', `docker://127.0.0.1:${port}/docker.io/org/app:1`])).toBe('into a container\n');
    watchSaid('the container of a buildset registry', await host.podman(['logs', id]));
    await host.podman(['rm', '--force', id]);
  });

  test('is run and used by the roles of deploy/zuul', async () => {
    const node = join(dir, 'node');
    await mkdir(join(node, 'etc/containers'), { recursive: true });
    const files = { 'etc/hosts': '127.0.0.1 localhost\n', 'etc/containers/policy.json': '{"default":[{"type":"insecureAcceptAnything"}]}' };
    for (const [path, text] of Object.entries(files)) await writeFile(join(node, path), text);
    const podman = await script('podman', `${join(SERVICES, 'containers')} ${host.dir} podman`);
    // On a machine that has the node's files, and podman's.
    const skopeo = await script('skopeo', `${join(SERVICES, 'with-machine')} ${node} skopeo`);
    const layout = join(dir, 'ansible');
    await writeLayout(layout, 'x', await makeImage({ marker: 'by ansible' }));
    const variables = {
      container_command: podman,
      buildset_registry_root: join(dir, 'role'),
      buildset_registry_port: await freePort(),
      buildset_registry_network: 'host',
      buildset_registry_upstreams: {},
      buildset_registry_machine: node,
      skopeo_command: skopeo,
      functional_image: `oci:${layout}:x`,
    };
    const told = await run('ansible-playbook', ['--inventory', 'localhost,', '--connection', 'local', '--extra-vars', JSON.stringify(variables), join(ROOT, 'deploy/zuul/functional.yaml')], {
      env: { HOME: dir, ANSIBLE_NOCOLOR: '1', ANSIBLE_LOCALHOST_WARNING: 'false' }, timeoutMs: 150_000,
    });
    expect(told).toMatch(/failed=0/);
    expect(told).toContain('by ansible');
    const left = (await readdir(node, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
    expect(Object.fromEntries(await Promise.all(left.map(async (path) => [relative(node, path), await readFile(path, 'utf8')])))).toEqual(files);
  });

  async function script(name: string, command: string): Promise<string> {
    const file = join(dir, name);
    await writeFile(file, `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 });
    return file;
  }

  function inside(command: readonly string[]): Promise<string> {
    return host.podman(['run', '--rm', '--network=none', image, ...command]);
  }
});

/** The bound is the test's own. */
async function ready(port: number, ca: string): Promise<void> {
  for (;;) {
    await using client = new RegistryClient(`https://127.0.0.1:${port}`, { ca });
    const answer = await client.call('/readyz').catch(() => undefined);
    if (answer?.status === 200) return;
  }
}
