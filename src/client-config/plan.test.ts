/** The files, word for word: what each client makes of them is seen in test/e2e/client-config.test.ts. */
import { describe, expect, test } from 'vitest';
import { parseViewId } from '../oci/name.ts';
import { plan } from './plan.ts';
import { ANY_MACHINE, parseRegistry } from './request.ts';
import type { ClientName, Request } from './request.ts';

const CA = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n';
const OURS = '# Written by `umbra client-config`, which also takes it away: umbra client-config revert.\n';

const ask = (changes: Partial<Request> = {}): Request => ({
  registry: parseRegistry('http://localhost:5000'),
  view: undefined,
  registryOfView: undefined,
  upstreams: ['docker.io', 'quay.io'],
  others: false,
  insecure: [],
  searchRegistries: undefined,
  strict: false,
  ca: undefined,
  proxy: undefined,
  login: undefined,
  machine: ANY_MACHINE,
  ...changes,
});
const tls = { registry: parseRegistry('https://registry.example.org:5443'), ca: CA };
const staging = { view: parseViewId('staging') };

/** By path. */
function files(client: ClientName, changes: Partial<Request> = {}): Record<string, string> {
  return Object.fromEntries(plan([client], ask(changes)).changes.map(({ path, content }) => [path, content]));
}

describe('docker', () => {
  test('has a mirror for Docker Hub, and says that it is for that alone', () => {
    expect(files('docker')).toEqual({ '/etc/docker/daemon.json': '{\n  "registry-mirrors": [\n    "http://localhost:5000"\n  ]\n}\n' });
    expect(plan(['docker'], ask()).notes).toEqual(["docker asks mirrors for Docker Hub's images only, and pulls those of quay.io past Umbra; give --proxy for them"]);
  });

  test.each<[string, string[]]>([
    ['http://10.0.0.1:5000', ['10.0.0.1:5000']],
    ['http://registry.example.org', ['registry.example.org']],
    ['http://127.0.0.1:5000', []],
    ['http://localhost:5000', []],
    ['http://[::1]:5000', []],
    ['https://registry.example.org', []],
  ])('at %s speaks without TLS to %j only because it is told', (url, insecure) => {
    const daemon = JSON.parse(files('docker', { registry: parseRegistry(url) })['/etc/docker/daemon.json'] ?? '') as object;
    expect(daemon).toEqual({ 'registry-mirrors': [url], ...(insecure.length > 0 && { 'insecure-registries': insecure }) });
  });

  test('is warned of a mirror that its BuildKit would pass by', () => {
    const notes = (url: string): readonly string[] => plan(['docker'], ask({ registry: parseRegistry(url), upstreams: ['docker.io'] })).notes;
    expect(notes('https://[::1]:5000')).toEqual([expect.stringMatching(/BuildKit in dockerd pass a mirror by that has TLS/)]);
    expect(notes('https://localhost:5000')).toHaveLength(1);
    expect([...notes('http://localhost:5000'), ...notes('https://registry.example.org')]).toEqual([]);
  });

  test('trusts the authority of its mirror', () => {
    expect(files('docker', tls)).toEqual({
      '/etc/docker/daemon.json': '{\n  "registry-mirrors": [\n    "https://registry.example.org:5443"\n  ]\n}\n',
      '/etc/docker/certs.d/registry.example.org:5443/umbra.crt': CA,
    });
  });

  test('goes through a proxy, strictly, and trusts its authority by a folder of its own', () => {
    expect(files('docker', { ...tls, proxy: 'http://registry.example.org:5080', strict: true })).toEqual({
      '/etc/systemd/system/docker.service.d/umbra-proxy.conf': `# Written by umbra client-config, which also takes it away.
[Service]
Environment="HTTPS_PROXY=http://registry.example.org:5080"
Environment="HTTP_PROXY=http://registry.example.org:5080"
Environment="NO_PROXY=localhost,127.0.0.1,::1,registry.example.org"
Environment="SSL_CERT_DIR=/etc/ssl/certs:/etc/pki/tls/certs:/etc/docker/umbra-ca"
`,
      '/etc/docker/umbra-ca/umbra.crt': CA,
      '/etc/docker/certs.d/registry.example.org:5443/umbra.crt': CA,
    });
  });

  test('sees a view where the view has a host of its own', () => {
    const registryOfView = parseRegistry('http://localhost:5010');
    expect(files('docker', { ...staging, registryOfView })['/etc/docker/daemon.json']).toContain('"http://localhost:5010"');
  });

  test.each<[string, Partial<Request>, RegExp]>([
    ['a view by path', staging, /take no path: give Umbra a listener/],
    ['a view by a proxy', { ...staging, proxy: 'http://localhost:5080' }, /the listener that is the proxy says which view/],
    ['strictness', { strict: true }, /no strict mode.*--proxy/],
    ['mirrors for others than Docker Hub', { upstreams: ['quay.io'] }, /Docker Hub’s images only.*--proxy/],
  ])('has no way to be told %s', (_, changes, message) => {
    expect(() => files('docker', changes)).toThrow(message);
  });
});

describe('buildkit', () => {
  test('finds each upstream behind a path', () => {
    expect(files('buildkit', staging)).toEqual({
      '/etc/buildkit/buildkitd.toml': `${OURS}[registry."docker.io"]
  mirrors = ["localhost:5000/staging.view/docker.io"]

[registry."quay.io"]
  mirrors = ["localhost:5000/staging.view/quay.io"]

[registry."localhost:5000"]
  http = true
`,
    });
  });

  test('is told that even localhost may have TLS', () => {
    expect(files('buildkit', { ...tls, registry: parseRegistry('https://localhost:5000'), upstreams: ['quay.io'] })).toEqual({
      '/etc/buildkit/buildkitd.toml': `${OURS}[registry."quay.io"]
  mirrors = ["localhost:5000/quay.io"]

[registry."localhost:5000"]
  http = false
  ca = ["/etc/buildkit/umbra-ca.pem"]
`,
      '/etc/buildkit/umbra-ca.pem': CA,
    });
  });

  test('cannot be strict', () => expect(() => files('buildkit', { strict: true })).toThrow(/asks upstream last/));
});

describe.each(['containers', 'cri-o'] as const)('%s', (client) => {
  const path = '/etc/containers/registries.conf.d/900-umbra.conf';

  test('asks Umbra, then upstream', () => {
    expect(files(client)).toEqual({
      [path]: `${OURS}unqualified-search-registries = ["docker.io"]

[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "localhost:5000/docker.io"
insecure = true

[[registry]]
prefix = "quay.io"
location = "quay.io"
[[registry.mirror]]
location = "localhost:5000/quay.io"
insecure = true

[[registry]]
location = "localhost:5000"
insecure = true
`,
    });
  });

  test('asks Umbra alone, for a view, with TLS', () => {
    expect(files(client, { ...tls, ...staging, strict: true, upstreams: ['quay.io'] })).toEqual({
      [path]: `${OURS}[[registry]]
prefix = "quay.io"
location = "registry.example.org:5443/staging.view/quay.io"
`,
      '/etc/containers/certs.d/registry.example.org:5443/umbra.crt': CA,
    });
  });

  test.each<[string, Partial<Request>, RegExp]>([
    ['an upstream with a port', { upstreams: ['registry.example.org:5000'] }, /which has no colons/],
  ])('cannot be told %s', (_, changes, message) => expect(() => files(client, changes)).toThrow(message));

  test.each<[readonly string[], boolean, string]>([
    [['quay.io', 'docker.io'], false, '["quay.io", "docker.io"]'],
    [['quay.io'], true, '["quay.io"]'],
    [[], false, '[]'],
  ])('searches for a name without a host in %j, if told, whatever is set elsewhere (%j)', (searchRegistries, hasSearchRegistries, said) => {
    expect(files(client, { searchRegistries, machine: { ...ANY_MACHINE, hasSearchRegistries } })[path]).toContain(`unqualified-search-registries = ${said}\n`);
  });

  test('keeps the search registries that are set elsewhere', () => {
    expect(files(client, { machine: { ...ANY_MACHINE, hasSearchRegistries: true } })[path]).not.toContain('unqualified');
  });
});

describe('containerd', () => {
  const config = `version = 2

# umbra client-config: begin
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
# umbra client-config: end
`;
  const own = `${OURS}server = "http://localhost:5000"
capabilities = ["pull", "resolve", "push"]

[host."http://localhost:5000"]
  capabilities = ["pull", "resolve", "push"]
`;

  test('asks Umbra for all other registries, then each of them, or nobody', () => {
    const host = '[host."http://localhost:5000"]\n  capabilities = ["pull", "resolve"]\n';
    const others = (strict: boolean): string | undefined => files('containerd', { others: true, strict })['/etc/containerd/certs.d/_default/hosts.toml'];
    expect(others(false)).toBe(`${OURS}${host}`);
    expect(others(true)).toBe(`${OURS}server = "http://localhost:5000"\ncapabilities = ["pull", "resolve"]\n\n${host}`);
  });

  test('asks Umbra, then upstream', () => {
    expect(files('containerd')).toEqual({
      '/etc/containerd/config.toml': config,
      '/etc/containerd/certs.d/docker.io/hosts.toml': `${OURS}server = "https://registry-1.docker.io"

[host."http://localhost:5000/v2/docker.io"]
  capabilities = ["pull", "resolve"]
  override_path = true
`,
      '/etc/containerd/certs.d/quay.io/hosts.toml': `${OURS}server = "https://quay.io"

[host."http://localhost:5000/v2/quay.io"]
  capabilities = ["pull", "resolve"]
  override_path = true
`,
      '/etc/containerd/certs.d/localhost:5000/hosts.toml': own,
    });
  });

  test('asks Umbra alone, for a view, with TLS, logged in', () => {
    const made = plan(['containerd'], ask({ ...tls, ...staging, strict: true, upstreams: ['quay.io'], login: 'Y2k6cHc=' }));
    expect(made.changes.map(({ path, mode }) => [path, mode])).toEqual([
      ['/etc/containerd/config.toml', 0o644],
      ['/etc/containerd/certs.d/quay.io/hosts.toml', 0o600],
      ['/etc/containerd/certs.d/registry.example.org:5443/hosts.toml', 0o600],
      ['/etc/containerd/certs.d/umbra-ca.pem', 0o644],
    ]);
    expect(made.changes[1]?.content).toBe(`${OURS}server = "https://registry.example.org:5443/v2/staging.view/quay.io"
capabilities = ["pull", "resolve"]
override_path = true
ca = "../umbra-ca.pem"
[header]
  Authorization = "Basic Y2k6cHc="

[host."https://registry.example.org:5443/v2/staging.view/quay.io"]
  capabilities = ["pull", "resolve"]
  override_path = true
  ca = "../umbra-ca.pem"
  [host."https://registry.example.org:5443/v2/staging.view/quay.io".header]
    Authorization = "Basic Y2k6cHc="
`);
  });
});

test.each(['buildkit', 'containers', 'containerd', 'cri-o', 'kubernetes'] as const)('%s is not given an IPv6 address, which it would pass by in silence', (client) => {
  expect(() => files(client, { registry: parseRegistry('https://[::1]:5000') })).toThrow(/give Umbra a name in DNS or \/etc\/hosts/);
});

test('kubernetes has the files of the node’s runtimes, and the kubelet’s login', () => {
  const paths = (runtimes: Request['machine']['runtimes']): string[] => Object.keys(files('kubernetes', { machine: { ...ANY_MACHINE, runtimes }, upstreams: ['quay.io'], login: 'x' }));
  expect(paths(['containerd'])).toEqual([
    '/etc/containerd/config.toml',
    '/etc/containerd/certs.d/quay.io/hosts.toml',
    '/etc/containerd/certs.d/localhost:5000/hosts.toml',
    '/var/lib/kubelet/config.json',
  ]);
  expect(paths(['cri-o'])).toEqual(['/etc/containers/registries.conf.d/900-umbra.conf', '/var/lib/kubelet/config.json']);
  expect(() => paths([])).toThrow(/which runtime/);
});

test.each<[ClientName, string]>([
  ['docker', '/root/.docker/config.json'],
  ['buildkit', '/root/.docker/config.json'],
  ['containers', '/root/.config/containers/auth.json'],
  ['cri-o', '/var/lib/kubelet/config.json'],
])('a login of %s goes into %s, which only its owner may read', (client, path) => {
  const change = plan([client], ask({ login: 'Y2k6cHc=' })).changes.find((one) => one.path === path);
  expect(change).toMatchObject({ mode: 0o600, secret: true });
  expect(JSON.parse(change?.content ?? '')).toEqual({ auths: { 'localhost:5000': { auth: 'Y2k6cHc=' } } });
});

test('clients that share a file say it once, and the one that must be told of it is', () => {
  const { changes } = plan(['containers', 'cri-o'], ask());
  expect(changes).toMatchObject([{ clients: ['containers', 'cri-o'], needs: { service: 'crio', action: 'reload' } }]);
});

describe('registries that are spoken to over plain HTTP', () => {
  const insecure = ['10.0.0.1:5000', 'registry.site.example.org'];

  test('are told to docker, with mirrors, with a proxy and alone', () => {
    const told = { 'insecure-registries': insecure };
    for (const [changes, more] of [[{}, { 'registry-mirrors': ['http://localhost:5000'] }], [{ proxy: 'http://localhost:5080' }, {}], [{ upstreams: [] }, {}]] as const)
      expect(JSON.parse(files('docker', { insecure, ...changes })['/etc/docker/daemon.json'] ?? '')).toEqual({ ...more, ...told });
  });

  test('are told to podman and its kind', () => {
    const [content = ''] = Object.values(files('containers', { insecure }));
    for (const host of insecure) expect(content).toContain(`[[registry]]\nlocation = "${host}"\ninsecure = true\n`);
  });

  test('are told to containerd, each in a file of its own, for pushes too', () => {
    expect(files('containerd', { insecure })['/etc/containerd/certs.d/10.0.0.1:5000/hosts.toml']).toBe(
      `${OURS}server = "http://10.0.0.1:5000"\n\n[host."http://10.0.0.1:5000"]\n  capabilities = ["pull", "resolve", "push"]\n`,
    );
  });

  test('are told to BuildKit', () => {
    expect(files('buildkit', { insecure })['/etc/buildkit/buildkitd.toml']).toContain('[registry."10.0.0.1:5000"]\n  http = true\n');
  });
});
