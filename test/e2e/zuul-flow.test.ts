/**
 * What zuul-jobs do with a buildset registry and an intermediate one, step by step, with the tools that they use and the
 * files that they write: `run-buildset-registry`, `pull-from-intermediate-registry`, `use-buildset-registry`,
 * `build-container-image`, `push-to-intermediate-registry` and `promote-container-image`.
 *
 * BuildKit is the one inside dockerd, by `docker build` and `docker push`: Debian has no package of buildx, and the image that
 * it makes a builder of comes from Docker Hub. It knows mirrors of docker.io only, from daemon.json.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority, type Authority } from '../services/certificates.ts';
import { Containerd } from '../services/containerd.ts';
import { Containers } from '../services/containers.ts';
import { DockerRegistry } from '../services/docker-registry.ts';
import { Docker } from '../services/docker.ts';
import { JobNode } from '../services/job-node.ts';
import { onMachine } from '../services/machine.ts';
import { ALIAS, BuildsetRegistry } from './buildset-registry.ts';
import { makeImage, makeIndex, makeMultiArch, writeLayout, type Image } from './images.ts';
import { RegistryClient } from './registry-client.ts';


/** Of two builds: the tag in the intermediate registry begins with it. */
const [AHEAD, BUILD] = ['6f2c1e8a9d3b4c7f8e1a2b3c4d5e6f70', '0a1b2c3d4e5f60718293a4b5c6d7e8f9'];
/** As the roles have them by default, but for docker.io, which is asked for without a path. */
const OTHERS = ['quay.io', 'gcr.io', 'registry.k8s.io'];

describe('the jobs of a buildset', () => {
  const stack = new AsyncDisposableStack();
  let dir: string;
  let authority: Authority;
  let published: DockerRegistry;
  let buildset: BuildsetRegistry;
  let intermediate: BuildsetRegistry;
  /** Where the executor runs skopeo. */
  let executor: Containers;
  let node: JobNode;

  const from = (registry: BuildsetRegistry): string => `docker://127.0.0.1:${registry.port}`;
  const registriesConf = (): string =>
    [
      'unqualified-search-registries = ["docker.io"]\n',
      ...['docker.io', ...OTHERS].map((upstream) => {
        const mirror = `${ALIAS}:${buildset.port}${upstream === 'docker.io' ? '' : `/${upstream}`}`;
        return `[[registry]]\nprefix = "${upstream}"\nlocation = "${upstream}"\n[[registry.mirror]]\nlocation = "${mirror}"\n[[registry.mirror]]\nlocation = "${upstream}"\n`;
      }),
    ].join('\n');
  const markerOf = async (containers: Containers, reference: string): Promise<string> =>
    (await containers.skopeo(['inspect', '--no-tags', '--format', '{{.Labels.marker}}', `docker://${reference}`])).trim();
  const publish = async (path: string, tag: string, image: Image): Promise<void> => {
    await using client = new RegistryClient(published.url, { ca: authority.pem });
    await client.push(path, tag, image);
  };
  const pushTo = async (registry: BuildsetRegistry, name: string, image: Image): Promise<void> => {
    const layout = join(dir, 'layout');
    await rm(layout, { recursive: true, force: true });
    await writeLayout(layout, 'x', image);
    await executor.skopeo(['--insecure-policy', 'copy', '--all', `oci:${layout}:x`, `${from(registry)}/${name}`]);
  };

  beforeAll(async () => {
    dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
    await mkdir(dir, { mode: 0o700 });
    stack.defer(() => rm(dir, { recursive: true }));
    authority = await makeAuthority(dir);
    published = stack.use(await DockerRegistry.start({ dir: join(dir, 'published'), authority }));
    const upstream = { url: published.url, ca: authority.certFile };
    const upstreams = { 'docker.io': upstream, ...Object.fromEntries(OTHERS.map((host) => [host, upstream])) };
    buildset = stack.use(await BuildsetRegistry.start({ dir: join(dir, 'buildset'), upstreams }));
    intermediate = stack.use(await BuildsetRegistry.start({ dir: join(dir, 'intermediate'), upstreams: {} }));
    executor = await Containers.create(join(dir, 'executor'));
    for (const { port, cert } of [buildset, intermediate]) await executor.trust(`127.0.0.1:${port}`, cert);
    await executor.trust(new URL(published.url).host, authority.pem);
    await mkdir(join(executor.dir, '.docker'));
    const auths = Object.fromEntries([buildset, intermediate].map((registry) => [`127.0.0.1:${registry.port}`, registry.auth]));
    await writeFile(join(executor.dir, '.docker', 'config.json'), JSON.stringify({ auths }));

    node = await JobNode.create(join(dir, 'node'));
    await node.alias('127.0.0.1', ALIAS);
    await node.trust(buildset.cert);
  });
  afterAll(() => stack.disposeAsync());

  test('1. the registry starts, with TLS, on IPv4 and IPv6', async () => {
    for (const address of ['127.0.0.1', '[::1]']) {
      await using client = new RegistryClient(`https://${address}:${buildset.port}`, { ca: buildset.cert });
      expect(await client.call('/v2/')).toMatchObject({ status: 200 });
    }
  });

  test('2. images of the changes ahead are copied in from the intermediate registry, byte for byte', async () => {
    const image = await makeMultiArch('ahead', 'docker');
    await publish('library/base', 'latest', await makeMultiArch('published', 'docker'));
    await publish('org/other', 'latest', await makeImage({ marker: 'published other' }));
    // A layout holds OCI indexes only, and this is a list of Docker's.
    await using ahead = new RegistryClient(`https://127.0.0.1:${intermediate.port}`, { ca: intermediate.cert, username: intermediate.username, password: intermediate.password });
    await ahead.push('library/base', `${AHEAD}_latest`, image);
    await executor.skopeo(['--insecure-policy', 'copy', '--all', `${from(intermediate)}/library/base:${AHEAD}_latest`, `${from(buildset)}/library/base:latest`]);
    for (const host of OTHERS) await pushTo(buildset, `${host}/org/base:latest`, await makeImage({ marker: `ahead of ${host}` }));
    await using client = new RegistryClient(`https://127.0.0.1:${buildset.port}`, { ca: buildset.cert });
    for (const name of ['library/base', 'base', 'docker.io/base', 'docker.io/library/base']) {
      expect(await client.getManifest(name, 'latest')).toMatchObject({ status: 200, digest: image.digest });
    }
  });

  describe('3. a node that uses the buildset registry gets what is ahead, and else what is published', () => {
    test('by podman, buildah and skopeo', async () => {
      const containers = await Containers.create(join(dir, 'c'), registriesConf(), onMachine(node.root));
      const pulled = async (program: 'podman' | 'buildah', reference: string): Promise<string> => {
        await containers[program](['pull', '--quiet', reference]);
        return (await containers.podman(['image', 'inspect', '--format', '{{.Config.Labels.marker}}', reference])).trim();
      };
      for (const program of ['podman', 'buildah'] as const) {
        expect(await pulled(program, 'docker.io/library/base:latest')).toBe('ahead');
        expect(await pulled(program, 'docker.io/org/other:latest')).toBe('published other');
        for (const host of OTHERS) expect(await pulled(program, `${host}/org/base:latest`)).toBe(`ahead of ${host}`);
        await containers.podman(['rmi', '--all', '--force']);
      }
      expect(await markerOf(containers, 'docker.io/library/base:latest')).toBe('ahead');
    });

    test('by containerd and a kubelet, as use-buildset-registry sets up microk8s', async () => {
      await using containerd = await Containerd.start(join(dir, 'n'), { machine: node.root });
      for (const host of ['docker.io', ...OTHERS]) {
        await containerd.configure(host, `server = "https://${host}"\n[host."https://${ALIAS}:${buildset.port}/v2/${host}"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n`);
      }
      for (const [reference, marker] of [['docker.io/library/base:latest', 'ahead'], ['docker.io/org/other:latest', 'published other'], ...OTHERS.map((host) => [`${host}/org/base:latest`, `ahead of ${host}`])] as const) {
        await containerd.pullByCri(reference as string);
        expect(await containerd.ctr(['--namespace', 'k8s.io', 'run', '--rm', reference as string, 'test'])).toBe(marker);
      }
    });

    test('by docker, whose mirrors are for Docker Hub', async () => {
      await using docker = await startDocker('d');
      for (const [reference, marker] of [['base:latest', 'ahead'], ['docker.io/library/base', 'ahead'], ['org/other:latest', 'published other'], [`${ALIAS}:${buildset.port}/quay.io/org/base:latest`, 'ahead of quay.io']] as const) {
        await docker.run(['pull', '--quiet', reference]);
        expect(await docker.run(['inspect', '--format', '{{.Config.Labels.marker}}', reference])).toBe(`${marker}\n`);
      }
    });
  });

  describe('4. an image is built FROM one that is ahead, and pushed', () => {
    const context = (): string => join(dir, 'context');
    beforeAll(async () => {
      await mkdir(context(), { recursive: true });
      await writeFile(join(context(), 'Dockerfile'), 'FROM docker.io/library/base:latest\nRUN cat /marker >/built && echo " and more" >>/built\nCMD ["/bin/cat", "/built"]\n');
    });

    test.each([['docker’s own builder', '0'], ['BuildKit inside dockerd', '1']])('by %s', async (_, buildkit) => {
      await using docker = await startDocker(`b${buildkit}`);
      const reference = `${ALIAS}:${buildset.port}/org/by-docker${buildkit}:latest`;
      await docker.run(['build', '--pull', '--network', 'none', '--tag', reference, context()], { env: { DOCKER_BUILDKIT: buildkit } });
      await docker.run(['push', reference]);
      await docker.run(['rmi', '--force', reference]);
      expect(await docker.run(['run', '--rm', '--network', 'none', `org/by-docker${buildkit}:latest`])).toBe('ahead and more\n');
    });

    test('by buildah', async () => {
      const containers = await Containers.create(join(dir, 'b'), registriesConf(), onMachine(node.root));
      const reference = `${ALIAS}:${buildset.port}/org/app:latest`;
      await containers.buildah(['bud', '--quiet', '--isolation', 'chroot', '--network', 'host', '--tag', reference, context()]);
      await containers.buildah(['push', '--creds', buildset.creds, reference]);
      await containers.podman(['rmi', '--all', '--force']);
      expect(await containers.podman(['run', '--rm', '--quiet', 'docker.io/org/app:latest'])).toBe('ahead and more\n');
    });
  });

  test('5. what was built goes on to the intermediate registry', async () => {
    await pushTo(buildset, 'org/built:latest', await makeMultiArch('built'));
    await executor.skopeo(['--insecure-policy', 'copy', '--all', `${from(buildset)}/org/built:latest`, `${from(intermediate)}/org/built:${BUILD}_latest`]);
    await using client = new RegistryClient(`https://127.0.0.1:${intermediate.port}`, { ca: intermediate.cert });
    const { digest } = await makeMultiArch('built');
    expect(await client.getManifest('org/built', `${BUILD}_latest`)).toMatchObject({ status: 200, digest });
  });

  describe('6. a change that merged is promoted', () => {
    const destination = (name: string): string => `docker://${new URL(published.url).host}/${name}`;

    test('by another tag of what the gate published', async () => {
      const image = makeIndex([await makeImage({ marker: 'of the gate' })]);
      await publish('org/gated', 'change_1_latest', image);
      await executor.skopeo(['--insecure-policy', 'copy', '--all', destination('org/gated:change_1_latest'), destination('org/gated:latest')]);
      await using client = new RegistryClient(published.url, { ca: authority.pem });
      expect(await client.getManifest('org/gated', 'latest')).toMatchObject({ status: 200, digest: image.digest });
    });

    test('by another tag of an intermediate registry’s own', async () => {
      await pushTo(intermediate, 'org/gated:change_1_latest', await makeImage({ marker: 'of the gate' }));
      await executor.skopeo(['--insecure-policy', 'copy', '--all', `${from(intermediate)}/org/gated:change_1_latest`, `${from(intermediate)}/org/gated:latest`]);
      expect(await markerOf(executor, `127.0.0.1:${intermediate.port}/org/gated:latest`)).toBe('of the gate');
    });

    test('by a copy out of the intermediate registry, which is read without logging in', async () => {
      const anonymous = await Containers.create(join(dir, 'anonymous'));
      await anonymous.trust(`127.0.0.1:${intermediate.port}`, intermediate.cert);
      await anonymous.trust(new URL(published.url).host, authority.pem);
      await anonymous.skopeo(['--insecure-policy', 'copy', '--all', `${from(intermediate)}/org/built:${BUILD}_latest`, destination('org/built:latest')]);
      await using client = new RegistryClient(published.url, { ca: authority.pem });
      expect(await client.getManifest('org/built', 'latest')).toMatchObject({ status: 200, digest: (await makeMultiArch('built')).digest });
    });
  });

  test('nobody pushes without the password', async () => {
    const stranger = await Containers.create(join(dir, 'stranger'));
    await stranger.trust(`127.0.0.1:${buildset.port}`, buildset.cert);
    const layout = join(dir, 'stranger-layout');
    await writeLayout(layout, 'x', await makeImage({ marker: 'poison' }));
    const push = ['copy', `oci:${layout}:x`, `${from(buildset)}/library/base:latest`];
    expect(await stranger.attempt('skopeo', push)).toMatchObject({ code: 1, stderr: expect.stringMatching(/unauthorized|authentication required/i) });
    expect(await stranger.attempt('skopeo', [...push, '--dest-creds', 'zuul:wrong'])).toMatchObject({ code: 1 });
    expect(await markerOf(executor, `127.0.0.1:${buildset.port}/library/base:latest`)).toBe('ahead');
  });

  async function startDocker(name: string): Promise<Docker> {
    return await Docker.start({
      dir: join(dir, name),
      machine: node.root,
      mirrors: [`https://${ALIAS}:${buildset.port}/`],
      logins: { [`${ALIAS}:${buildset.port}`]: { username: buildset.username, password: buildset.password } },
    });
  }
});

/** The two set-ups of zuul-registry's README, word for word. */
describe('the set-ups of the original, on port 9000', () => {
  const stack = new AsyncDisposableStack();
  let dir: string;
  let registry: BuildsetRegistry;
  let node: JobNode;
  beforeAll(async () => {
    dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
    await mkdir(dir, { mode: 0o700 });
    stack.defer(() => rm(dir, { recursive: true }));
    registry = stack.use(await BuildsetRegistry.start({ dir: join(dir, 'registry'), upstreams: {}, port: 9000 }));
    node = await JobNode.create(join(dir, 'node'));
    await node.trust(registry.cert);
  });
  afterAll(() => stack.disposeAsync());

  test('docker with "registry-mirrors": ["https://localhost:9000"]', async () => {
    await using docker = await Docker.start({
      dir: join(dir, 'd'),
      machine: node.root,
      mirrors: ['https://localhost:9000'],
      logins: { 'localhost:9000': { username: registry.username, password: registry.password } },
    });
    const containers = await containersOf('dc');
    await writeLayout(join(dir, 'layout'), 'x', await makeImage({ marker: 'by docker' }));
    await containers.skopeo(['copy', '--dest-creds', registry.creds, `oci:${join(dir, 'layout')}:x`, 'docker://localhost:9000/test/mirrored']);
    await docker.run(['pull', '--quiet', 'test/mirrored']);
    expect(await docker.run(['inspect', '--format', '{{.Config.Labels.marker}}', 'test/mirrored'])).toBe('by docker\n');
  });

  test('podman and skopeo with localhost:9000/docker.io before docker.io', async () => {
    const containers = await containersOf('c');
    await writeLayout(join(dir, 'own'), 'x', await makeImage({ marker: 'by podman' }));
    const id = (await containers.podman(['pull', '--quiet', `oci:${join(dir, 'own')}:x`])).trim();
    await containers.podman(['tag', id, 'docker.io/test/registry']);
    await containers.podman(['login', '--username', registry.username, '--password-stdin', 'localhost:9000'], { input: registry.password });
    await containers.skopeo(['copy', 'containers-storage:docker.io/test/registry', 'docker://localhost:9000/docker.io/test/registry']);
    await containers.podman(['rmi', '--all', '--force']);
    await containers.podman(['pull', 'docker.io/test/registry']);
    expect(await containers.podman(['image', 'inspect', '--format', '{{.Config.Labels.marker}}', 'docker.io/test/registry'])).toBe('by podman\n');
  });

  async function containersOf(name: string): Promise<Containers> {
    const conf = '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n\n[[registry.mirror]]\nlocation = "localhost:9000/docker.io"\n\n[[registry.mirror]]\nlocation = "docker.io"\n';
    return await Containers.create(join(dir, name), conf, onMachine(node.root));
  }
});
