/**
 * What the pod of the DaemonSet does on a node, by the image that it is rendered for: its init container as root, with all of the
 * node's files; its registry without any rights. Run where the image has been built.
 */
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { nodeModel } from '../../src/clusters/render/node-model.fixture.ts';
import type { NodeModel } from '../../src/clusters/render/node-model.ts';
import { render } from '../../src/clusters/render/render.ts';
import type { FormatName } from '../../src/clusters/render/render.ts';
import { TOKEN } from '../../src/node/node.fixture.ts';
import { KubeNode, type KubeNodeOptions } from '../services/kube-node.ts';
import { freePort } from '../services/ports.ts';
import { knowKeys, watchSaid } from '../support/secret-watch.ts';
import { SmallCloud } from './small-cloud.ts';

const CONTAINERD = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "registry.k8s.io/pause:3.9"\n';
const HOSTS = '/etc/containerd/certs.d';
const THEIRS = '[host."http://mirror.example.org"]\n  capabilities = ["pull"]\n';

/** @param options of nodes, once there is an image; each is given a folder of its own */
export function daemonSetRuns(options: () => KubeNodeOptions): void {
  describe('the pod of a DaemonSet', () => {
    let node: KubeNode;
    let nodes = 0;
    afterEach(async () => await node[Symbol.asyncDispose]());

    async function start(active: readonly string[]): Promise<void> {
      nodes++;
      node = await KubeNode.start({ ...options(), dir: join(options().dir, `k${nodes}`) }, active);
    }

    async function prepared(changes: Partial<NodeModel> = {}, format: FormatName = 'daemonset'): Promise<string> {
      const { code, stderr } = await node.prepare(manifests(changes, format));
      expect([code, stderr]).toEqual([0, expect.anything()]);
      return stderr;
    }

    test('tells a node’s runtimes beside what they were told, once, and takes all of it back', async () => {
      await start(['containerd', 'docker']);
      await node.put('/etc/containerd/config.toml', CONTAINERD);
      await node.put('/etc/docker/daemon.json', '{\n  "log-driver": "journald"\n}\n', 0o600);
      await node.put('/usr/bin/dockerd', '', 0o755);
      const before = await node.snapshot();

      await prepared();
      expect(await node.told()).toEqual(['--no-block restart containerd', '--no-block restart docker']);
      expect(JSON.parse(await node.read('/etc/docker/daemon.json'))).toEqual({ 'log-driver': 'journald', 'registry-mirrors': ['http://localhost:5000'], 'insecure-registries': ['registry.site.example.org:5000'] });
      expect(await node.read('/etc/containerd/config.toml')).toBe(`${CONTAINERD}# umbra client-config: begin\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "${HOSTS}"\n# umbra client-config: end\n`);
      expect(await node.read(`${HOSTS}/quay.io/hosts.toml`)).toContain('server = "https://quay.io"\n\n[host."http://localhost:5000/v2/quay.io"]\n');
      expect(await node.read(`${HOSTS}/_default/hosts.toml`)).toContain('[host."http://localhost:5000"]\n  capabilities = ["pull", "resolve"]\n');
      const told = await node.snapshot();
      expect(told).toMatchObject({ '/var/lib/umbra': '1000:1000 700 ', '/var/cache/umbra': '1000:1000 700 ' });

      await prepared();
      expect(await node.snapshot()).toEqual(told);
      expect(await node.told()).toEqual([]);

      await node.put('/var/lib/umbra/node.json', '{}');
      await prepared({}, 'daemonset-remove');
      expect(await node.snapshot()).toEqual(before);
      expect(await node.told()).toEqual(['--no-block restart containerd', '--no-block restart docker']);
    });

    test('keeps what others say of all registries, then or later, and tries again to restart what could not be', async () => {
      await start(['containerd']);
      await node.put('/etc/containerd/config.toml', CONTAINERD);
      await node.put(`${HOSTS}/_default/hosts.toml`, THEIRS);
      await node.breakSystemd(true);
      expect(await node.prepare(manifests())).toMatchObject({ code: 1 });
      await node.told();
      await node.breakSystemd(false);
      await prepared();
      expect(await node.told()).toEqual(['--no-block restart containerd']);
      const both = await node.read(`${HOSTS}/_default/hosts.toml`);
      expect(both).toMatch(/localhost:5000[^]*mirror\.example\.org/);

      await node.put(`${HOSTS}/_default/hosts.toml`, `${both}# later\n`);
      // What cannot be told from theirs is theirs, and somebody is to look at it.
      const docker = await node.read(`${HOSTS}/docker.io/hosts.toml`);
      await node.put(`${HOSTS}/docker.io/hosts.toml`, docker.replaceAll('"resolve"', '"resolve", "push"'));
      const { code, stderr } = await node.prepare(manifests({}, 'daemonset-remove'));
      expect([code, stderr]).toEqual([1, expect.stringMatching(/docker\.io\/hosts\.toml[^]*not all could be taken back/)]);
      expect(await node.told()).toEqual(['--no-block restart containerd']);
      expect(await node.read(`${HOSTS}/_default/hosts.toml`)).toBe(`${THEIRS}# later\n`);
      expect(await node.read('/etc/containerd/config.toml')).toBe(CONTAINERD);
    });

    test('has CRI-O ask nobody else, where nothing has to be restarted', async () => {
      await start(['crio']);
      await node.put('/etc/crio/crio.conf', '');
      const before = await node.snapshot();
      await prepared({ fallback: 'none' });
      expect(await node.told()).toEqual(['reload crio']);
      expect(await node.read('/etc/containers/registries.conf.d/900-umbra.conf')).toContain('prefix = "quay.io"\nlocation = "localhost:5000/quay.io"\n');
      expect(Object.keys(await node.snapshot()).filter((path) => /containerd|docker/.test(path))).toEqual([]);
      await prepared({ fallback: 'none' }, 'daemonset-remove');
      expect(await node.snapshot()).toEqual(before);
    });

    test('serves as nobody in particular, on files that it cannot write, with what it was handed', async () => {
      await start(['containerd']);
      await node.put('/etc/containerd/config.toml', CONTAINERD);
      const before = await node.snapshot();
      const port = await freePort();
      await using cloud = await SmallCloud.start();
      // Nothing of a runtime is changed for a registry that stands in for nobody.
      const model: Partial<NodeModel> = { ...cloud.model, port, upstreams: [], insecureRegistries: [] };
      await prepared(model);
      expect([await node.snapshot(), await node.told()]).toEqual([{ ...before, '/var/lib/umbra': '1000:1000 700 ', '/var/cache/umbra': '1000:1000 700 ' }, []]);

      const registry = await node.serve(manifests(model), (output) => /^umbra: ready\b/m.test(output));
      watchSaid('the registry of a DaemonSet', () => registry.output);
      for (const path of ['healthz', 'readyz']) expect((await fetch(`http://127.0.0.1:${port}/${path}`)).status).toBe(200);
      expect(cloud.service.exchanges).toEqual([expect.objectContaining({ token: TOKEN })]);
      knowKeys(join(node.root, 'var/lib/umbra/node.json'));
      expect(await node.snapshot()).toMatchObject({ '/var/lib/umbra/node.json': expect.stringMatching(/^1000:1000 600 /), '/var/lib/umbra/credential.json': expect.stringContaining('password-of-the-node') });
      expect(await registry.stop()).toBe('exit code 0');
      expect(registry.output).not.toMatch(/EROFS|EACCES|EPERM/);

      await prepared(model, 'daemonset-remove');
      expect(await node.snapshot()).toEqual(before);
    });
  });
}

function manifests(changes: Partial<NodeModel> = {}, format: FormatName = 'daemonset'): string {
  return render(nodeModel({ proxies: undefined, ...changes }), format).body.toString();
}
