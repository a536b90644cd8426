/**
 * What is deployed: the image that `make image` builds, a DaemonSet's pod of it, and the roles for Zuul that run and use it in place of zuul-registry.
 * Played here are systemctl, which notes what it is told and does nothing, zuul_return, which only Zuul's executor has, and docker,
 * which is podman run by sudo. So it is not seen that a dockerd or CRI-O comes up again with its new files, nor a push by docker
 * itself after the role, nor SELinux, nor podman without root, for which this machine has neither the cgroups nor the user's ids.
 */
import { randomBytes } from 'node:crypto';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AnsibleNode } from '../services/ansible-node.ts';
import { DEBIAN_PATH, run } from '../services/command.ts';
import { Containers } from '../services/containers.ts';
import { freePort } from '../services/ports.ts';
import { knowKeys, knowSecrets, watchSaid } from '../support/secret-watch.ts';
import { registryYaml, selfSigned } from './buildset-registry.ts';
import { daemonSetRuns } from './daemon-set.contract.ts';
import { makeImage, writeLayout } from './images.ts';
import { RegistryClient } from './registry-client.ts';

/** Zuul's module takes what a job returns. */
const ZUUL_RETURN = `from ansible.module_utils.basic import AnsibleModule
import json, os
module = AnsibleModule(argument_spec={'secret_data': {'type': 'dict', 'no_log': True}})
with open(os.path.expanduser('~/returned.json'), 'w') as file:
    json.dump({'secret_data': module.params['secret_data']}, file)
module.exit_json(changed=True)
`;

const ROOT = join(import.meta.dirname, '../..');

describe('the image', () => {
  let dir: string;
  let host: Containers;
  let image: string;
  let imageEnv: string[];
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
    // Of its own, since whoever runs it leaves files there: at once, where each container of the image begins with a copy of all.
    const mounted = (await host.podman(['image', 'mount', image])).trim().replace('/var/lib/containers', join(host.dir, 'lib'));
    await run('cp', ['-a', mounted, join(dir, 'rootfs')]);
    imageEnv = (JSON.parse(await host.podman(['image', 'inspect', image])) as [{ Config: { Env: string[] } }])[0].Config.Env;
  });
  afterAll(async () => {
    await host?.podman(['rm', '--all', '--force', '--time', '5']);
    await rm(dir, { recursive: true });
  });

  daemonSetRuns(() => ({ dir: join(dir, 'k'), rootfs: join(dir, 'rootfs'), env: imageEnv }));

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

  test('is run and used by the roles of deploy/zuul, for a user who is not root', async () => {
    const node = await AnsibleNode.create(join(dir, 'node'), ['docker']);
    expect(await node.attempt(['sh', '-c', 'docker tag "$(docker pull --quiet "$0")" localhost/umbra', `oci:${join(dir, 'layout')}`])).toMatchObject({ code: 0 });
    const layout = join(node.root, 'home/image');
    await writeLayout(layout, 'x', await makeImage({ marker: 'by ansible' }));
    await node.put('home/library/zuul_return.py', ZUUL_RETURN);
    await cp(join(ROOT, 'deploy/zuul'), join(node.root, 'home/zuul'), { recursive: true });
    const before = await node.snapshot();
    const port = await freePort();
    const variables = {
      zuul: {},
      buildset_registry_port: port,
      buildset_registry_network: 'host',
      buildset_registry_upstreams: {},
      buildset_registry_clients: ['docker', 'buildkit', 'containers'],
      // As zuul-jobs have them.
      buildset_registry_namespaces: [['docker.io', 'https://registry-1.docker.io'], ['quay.io', 'https://quay.io']],
      buildset_registry_unqualified_registries: ['docker.io', 'quay.io'],
      functional_image: 'oci:/home/image:x',
    };
    const { code, stdout, stderr } = await node.attempt(
      ['sh', '-c', 'exec ansible-playbook --inventory localhost, --connection local --extra-vars "$0" /home/zuul/functional.yaml', JSON.stringify(variables)],
      { ANSIBLE_LIBRARY: '/home/library', ANSIBLE_NOCOLOR: '1', ANSIBLE_LOCALHOST_WARNING: 'false' },
    );
    expect([code, stdout, stderr]).toEqual([0, expect.stringMatching(/failed=0/), expect.anything()]);
    expect(stdout).toContain('by ansible');
    // Told, and told again when it was taken back.
    expect(await node.told()).toEqual(['restart docker', 'restart docker']);
    const returned = JSON.parse(await readFile(join(node.home, 'returned.json'), 'utf8')) as object;
    expect(returned).toEqual({ secret_data: { buildset_registry: { host: expect.any(String), port: String(port), username: 'zuul', password: expect.stringMatching(/^\w{32}$/), cert: expect.stringContaining('BEGIN CERTIFICATE') } } });
    const after = Object.entries(await node.snapshot()).filter(([path]) => !/\/buildset_registry(?:\/|$)|\/returned\.json$/.test(path));
    expect(Object.fromEntries(after)).toEqual(before);
  }, 600_000);

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
