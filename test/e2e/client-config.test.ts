/**
 * What `umbra client-config apply` writes makes real clients see what was pushed to Umbra under upstream's own names, over
 * IPv4 and IPv6, with and without TLS; Umbra gone, the lenient go to upstream and the strict fail; revert puts all back.
 * Here each client has a few rows, in `make soak` every client all of them: of docker's those that it has, since mirrors give
 * it Docker Hub alone, and the proxy the rest. There is no buildkitd to run here: BuildKit is the one in dockerd.
 */
import { randomBytes } from 'node:crypto';
import { cp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority, type Authority } from '../services/certificates.ts';
import { attempt, run, DEBIAN_PATH, type CommandResult } from '../services/command.ts';
import { Containerd } from '../services/containerd.ts';
import { Docker } from '../services/docker.ts';
import { DockerRegistry } from '../services/docker-registry.ts';
import { onMachine } from '../services/machine.ts';
import { SOAK } from '../support/soak.ts';
import { freePort } from '../services/ports.ts';
import { makeImage } from './images.ts';
import { tellOnFailure } from './landscape.ts';
import { RegistryClient } from './registry-client.ts';
import { PROGRAM, Umbra } from './umbra.ts';

const UPSTREAMS = ['docker.io', 'quay.io', 'ghcr.io', 'registry.k8s.io'] as const;
/** Names of the stand-in for all of them. */
const HOSTS = ['registry-1.docker.io', ...UPSTREAMS];
/** A name for ::1 alone: but for docker, no client understands an IPv6 address as a registry. */
const SIX = 'six.test';
const FOUR = 'four.test';

const ENV = { PATH: `${dirname(process.execPath)}:${DEBIAN_PATH}`, HOME: '/root' };

interface Row {
  readonly address: '127.0.0.1' | '[::1]';
  readonly tls: boolean;
  readonly strict: boolean;
  readonly view: 'main' | 'staging';
}

const ROWS: readonly Row[] =
  !SOAK
    ? [
        { address: '127.0.0.1', tls: false, strict: false, view: 'main' },
        { address: '[::1]', tls: true, strict: true, view: 'staging' },
      ]
    : (['127.0.0.1', '[::1]'] as const).flatMap((address) => [false, true].flatMap((tls) => [false, true].flatMap((strict) => (['main', 'staging'] as const).map((view) => ({ address, tls, strict, view })))));

/** Umbra before one stand-in that plays every upstream, each side with an authority of its own. */
let stack: AsyncDisposableStack;
let dir: string;
let ours: Authority;
let theirs: Authority;
let umbra: Umbra;
/** Ports of Umbra's listeners: without and with TLS, and the same for the view staging. */
let ports: { readonly main: readonly [number, number]; readonly staging: readonly [number, number]; readonly proxy: readonly [number, number] };
let hosts: string;

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
  stack.defer(() => rm(dir, { recursive: true }));
  await Promise.all(['ours', 'theirs'].map((name) => mkdir(join(dir, name), { recursive: true })));
  [ours, theirs] = await Promise.all([makeAuthority(join(dir, 'ours')), makeAuthority(join(dir, 'theirs'))]);
  // 443 of an address that nobody else here has.
  const [a, b, c] = randomBytes(3);
  const address = `127.${1 + (a! % 250)}.${b}.${1 + (c! % 250)}`;
  hosts = `127.0.0.1 localhost ${FOUR}\n::1 localhost ${SIX}\n${address} ${HOSTS.join(' ')}\n`;
  const upstream = stack.use(await DockerRegistry.start({ dir: join(dir, 'upstream'), authority: theirs, poses: { address, hosts: HOSTS } }));
  const leaf = await ours.issue('umbra', [`DNS:${SIX}`, `DNS:${FOUR}`]);
  ports = { main: [await freePort(), await freePort()], staging: [await freePort(), await freePort()], proxy: [await freePort(), await freePort()] };
  const tls = { cert: leaf.certFile, key: leaf.keyFile };
  umbra = stack.use(
    await Umbra.start({
      dir: join(dir, 'umbra'),
      config: {
        listeners: [
          ...(['main', 'staging'] as const).flatMap((view) => ports[view].map((port, i) => ({ address: `localhost:${port}`, view, ...(i === 1 && { tls }) }))),
          ...ports.proxy.map((port, i) => ({ address: `localhost:${port}`, proxy: true, mirror: true, ...(i === 1 && { tls }) })),
        ],
        views: { define: { staging: { parents: ['main'] } } },
        upstreams: Object.fromEntries(UPSTREAMS.map((host) => [host, { url: upstream.url, ca: theirs.certFile }])),
      },
    }),
  );
  await using atUpstream = new RegistryClient(upstream.url, { ca: theirs.pem });
  await using atUmbra = new RegistryClient(umbra.url);
  await atUpstream.push('org/app', '1', await makeImage({ marker: 'upstream' }));
  for (const host of UPSTREAMS) {
    await atUmbra.push(`${host}/org/app`, '1', await makeImage({ marker: `main ${host}` }));
    await atUmbra.push(`staging.view/${host}/org/app`, '1', await makeImage({ marker: `staging ${host}` }));
  }
});
afterAll(() => stack?.[Symbol.asyncDispose]());
tellOnFailure(() => umbra);

/** Everything under a machine's root, to see that it comes back. */
async function filesOf(root: string): Promise<Record<string, string>> {
  // dockerd makes itself a key.json.
  const files = (await readdir(root, { recursive: true, withFileTypes: true })).filter((entry) => !entry.isDirectory() && entry.name !== 'key.json');
  return Object.fromEntries(await Promise.all(files.map(async ({ parentPath, name }) => [join(parentPath, name), await readFile(join(parentPath, name), 'utf8')] as const)));
}

class Machine {
  readonly root: string;

  constructor(name: string) {
    this.root = join(dir, name);
  }

  async put(path: string, text: string): Promise<void> {
    await mkdir(dirname(join(this.root, path)), { recursive: true });
    await writeFile(join(this.root, path), text);
  }

  config(...words: readonly string[]): Promise<string> {
    return run(PROGRAM, ['client-config', ...words, '--root', this.root], { env: ENV });
  }

  apply(client: string, { address, tls, strict, view }: Row): Promise<string> {
    const host = address === '[::1]' ? SIX : address;
    const registry = `${tls ? 'https' : 'http'}://${host}:${ports.main[tls ? 1 : 0]}`;
    return this.config('apply', '--for', client, '--registry', registry, '--upstreams', UPSTREAMS.join(','), '-c', umbra.configFile, ...(view === 'main' ? [] : ['--view', view]), ...(strict ? ['--strict'] : []), ...(tls ? ['--ca', ours.certFile] : []));
  }

  /** A program that sees this machine's files. */
  attempt(...words: readonly string[]): Promise<CommandResult> {
    const [program = '', ...args] = [...onMachine(this.root), ...words];
    return attempt(program, args, { env: { SSL_CERT_FILE: theirs.certFile, HOME: join(this.root, 'root') } });
  }
}

/** Each row with Umbra there, then each with Umbra gone; then nothing is left of it. */
async function rows(machine: Machine, client: string, expectAll: (expected: (host: string) => string | undefined) => Promise<void>): Promise<void> {
  const before = await filesOf(machine.root);
  for (const row of ROWS) {
    await machine.apply(client, row);
    await expectAll((host) => `${row.view} ${host}`);
  }
  await umbra.stop();
  try {
    for (const row of ROWS.toReversed()) {
      await machine.apply(client, row);
      await expectAll(() => (row.strict ? undefined : 'upstream'));
    }
  } finally {
    await umbra.restart();
  }
  await machine.config('revert');
  expect(await filesOf(machine.root)).toEqual(before);
}

test('podman, buildah and skopeo pull by upstream’s names what Umbra has', async () => {
  const machine = new Machine('p');
  await machine.put('etc/hosts', hosts);
  await machine.put('etc/containers/registries.conf', '# short-name-mode = "enforcing"\n');
  await machine.put('etc/containers/policy.json', '{ "default": [{ "type": "insecureAcceptAnything" }] }');
  const script = join(import.meta.dirname, '../services/containers');
  await rows(machine, 'containers', async (expected) => {
    // The script has an etc of its own.
    await rm(join(dir, 'pc/etc'), { recursive: true, force: true });
    await cp(join(machine.root, 'etc/containers'), join(dir, 'pc/etc'), { recursive: true });
    // podman and buildah try for long what fails: they pull while Umbra is there, outside the soak in one row.
    const isThere = ![undefined, 'upstream'].includes(expected('docker.io'));
    const patient = expected('docker.io') === `${ROWS[0]?.view} docker.io`;
    const programsOf = (i: number): readonly string[] => {
      if (SOAK && isThere) return ['podman', 'buildah', 'skopeo'];
      return [patient ? (['podman', 'buildah'][i] ?? 'skopeo') : 'skopeo'];
    };
    const tool = (...words: readonly string[]): Promise<CommandResult> => machine.attempt(script, join(dir, 'pc'), ...words);
    for (const [host, program] of UPSTREAMS.flatMap((each, i) => programsOf(i).map((one) => [each, one] as const))) {
      const reference = `${host}/org/app:1`;
      if (program !== 'skopeo') {
        const { code, stderr } = await tool(program, 'pull', '--quiet', ...(program === 'buildah' ? ['--policy', 'always'] : []), reference);
        expect([host, code === 0, stderr]).toEqual([host, expected(host) !== undefined, expect.anything()]);
        if (code !== 0) continue;
      }
      const look = program === 'skopeo' ? ['skopeo', 'inspect', '--format', '{{.Labels.marker}}', `docker://${reference}`] : ['podman', 'image', 'inspect', '--format', '{{.Config.Labels.marker}}', reference];
      const { code, stdout, stderr } = await tool(...look);
      expect([host, code === 0 ? stdout.trim() : undefined, stderr]).toEqual([host, expected(host), expect.anything()]);
    }
  });
});

describe('containerd', () => {
  test('gives ctr and a kubelet by upstream’s names what Umbra has', async () => {
    const machine = new Machine('n');
    await machine.put('etc/hosts', hosts);
    const state = join(dir, 'nd');
    await machine.put('etc/containerd/config.toml', `version = 2\nroot = "${state}/root"\nstate = "${state}/state"\n[grpc]\n  address = "${state}/containerd.sock"\n[plugins."io.containerd.internal.v1.opt"]\n  path = "${state}/opt"\n[plugins."io.containerd.nri.v1.nri"]\n  disable = true\n`);
    await machine.apply('containerd', ROWS[0]!);
    await using containerd = await Containerd.start(state, { machine: machine.root, caFile: theirs.certFile });
    await machine.config('revert');
    await rows(machine, 'containerd', async (expected) => {
      for (const [i, host] of UPSTREAMS.entries()) {
        const marker = expected(host);
        const digest = marker === undefined ? undefined : (await makeImage({ marker })).digest;
        // Both read the same files: ctr itself, and the daemon for its CRI plugin.
        if (SOAK || i % 2 === 0) {
          const { code, stderr } = await machine.attempt('ctr', '--address', join(state, 'containerd.sock'), 'images', 'pull', '--hosts-dir', '/etc/containerd/certs.d', `${host}/org/app:1`);
          expect([host, code, stderr]).toEqual([host, marker === undefined ? 1 : 0, expect.anything()]);
          if (marker !== undefined) expect(await containerd.ctr(['images', 'ls', `name==${host}/org/app:1`])).toContain(digest);
        }
        if (!SOAK && i % 2 === 0) continue;
        if (marker === undefined) await expect(containerd.pullByCri(`${host}/org/app:1`)).rejects.toThrow(/org\/app/);
        else {
          await containerd.pullByCri(`${host}/org/app:1`);
          expect(await containerd.ctr(['--namespace', 'k8s.io', 'images', 'ls', `name==${host}/org/app:1`])).toContain(digest);
        }
      }
    });
  });
});

describe('docker', () => {
  const start = async (machine: Machine, name: string): Promise<Docker> => Docker.start({ dir: join(dir, name), machine: machine.root, caFile: theirs.certFile });
  const context = async (host: string): Promise<string> => {
    const folder = join(dir, `context-${host}`);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'Dockerfile'), `FROM ${host}/org/app:1\nLABEL built=yes\n`);
    return folder;
  };
  const markerOf = async (docker: Docker, reference: string): Promise<string> => (await docker.run(['inspect', '--format', '{{.Config.Labels.marker}}', reference])).trim();
  const pull = async (docker: Docker, reference: string): Promise<string> => {
    await docker.run(['pull', '--quiet', reference]);
    return markerOf(docker, reference);
  };
  /** By the BuildKit that is in dockerd. */
  const build = async (docker: Docker, host: string): Promise<string> => {
    await docker.run(['build', '--pull', '--no-cache', '--tag', 'built', await context(host)], { env: { DOCKER_BUILDKIT: '1' } });
    return markerOf(docker, 'built');
  };

  test.each(ROWS.filter(({ strict }) => !SOAK || !strict))('pulls and builds from what Umbra has for Docker Hub: %j', async ({ address, tls, view }) => {
    const machine = new Machine(`m${address.length}${tls}${view}`);
    await machine.put('etc/hosts', hosts);
    await machine.put('etc/docker/daemon.json', '{\n\t"max-download-attempts": 1\n}\n');
    const before = await filesOf(machine.root);
    // Its BuildKit would speak to a loopback address without TLS.
    const registry = `${tls ? 'https' : 'http'}://${tls ? (address === '[::1]' ? SIX : FOUR) : address}:${ports[view][tls ? 1 : 0]}`;
    await machine.config('apply', '--for', 'docker', '--registry', registry, ...(tls ? ['--ca', ours.certFile] : []));
    {
      await using docker = await start(machine, `d${address === '[::1]' ? 6 : 4}${tls ? 's' : 'p'}${view[0]}`);
      expect(await pull(docker, 'org/app:1')).toBe(`${view} docker.io`);
      // Without TLS: test/e2e/build.test.ts.
      if (tls) expect(await build(docker, 'docker.io')).toBe(`${view} docker.io`);
      if (view === 'main') {
        await umbra.stop();
        try {
          expect(await pull(docker, 'org/app:1')).toBe('upstream');
        } finally {
          await umbra.restart();
        }
      }
    }
    await machine.config('revert');
    expect(await filesOf(machine.root)).toEqual(before);
  });

  /** To the proxy itself; what goes through it has TLS. */
  const WAYS = SOAK ? (['127.0.0.1', '[::1]'] as const).flatMap((address) => [false, true].map((tls) => ({ address, tls }))) : [{ address: '127.0.0.1', tls: false } as const];
  test.each(WAYS)('pulls and builds from what Umbra has for every upstream through the proxy, and nothing without it: %j', async ({ address, tls }) => {
    const name = `${address === '[::1]' ? 6 : 4}${tls ? 's' : 'p'}`;
    const machine = new Machine(`mp${name}`);
    await machine.put('etc/hosts', hosts);
    await machine.put('etc/docker/daemon.json', '{ "max-download-attempts": 1 }');
    const before = await filesOf(machine.root);
    const ca = join(dir, `proxy-ca-${name}.pem`);
    await writeFile(ca, (await run(PROGRAM, ['ca', '-c', umbra.configFile], { env: ENV })) + (tls ? ours.pem : ''));
    const proxy = tls ? `https://${address === '[::1]' ? SIX : FOUR}:${ports.proxy[1]}` : `http://${address}:${ports.proxy[0]}`;
    await machine.config('apply', '--for', 'docker', '--proxy', proxy, '--ca', ca, '--strict', '-c', umbra.configFile);
    const unit = await readFile(join(machine.root, 'etc/systemd/system/docker.service.d/umbra-proxy.conf'), 'utf8');
    const environment = Object.fromEntries(Array.from(unit.matchAll(/^Environment="(\w+)=(.*)"$/gm), ([, key = '', value = '']) => [key, value]));
    {
      await using docker = await Docker.start({ dir: join(dir, `dp${name}`), machine: machine.root, environment });
      for (const host of SOAK ? UPSTREAMS : (['quay.io', 'docker.io'] as const)) expect(await pull(docker, `${host}/org/app:1`)).toBe(`main ${host}`);
      for (const host of SOAK ? UPSTREAMS : (['ghcr.io'] as const)) expect(await build(docker, host)).toBe(`main ${host}`);
      await umbra.stop();
      try {
        expect(await docker.attempt(['pull', '--quiet', 'quay.io/org/app:1'])).toMatchObject({ code: 1, stderr: expect.stringContaining('refused') as string });
      } finally {
        await umbra.restart();
      }
    }
    await machine.config('revert');
    expect(await filesOf(machine.root)).toEqual(before);
  });
});
