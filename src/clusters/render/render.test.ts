/** Every role of every kind of cluster, in every format: is there all that it refers to, and nothing that must not be? */
import { describe, expect, test } from 'vitest';
import { COES, ROLES } from '../words.ts';
import type { Coe, Role } from '../words.ts';
import type { FormatName } from './render.ts';
import { filesOf } from './files.ts';
import { literalModel, nodeModel } from './node-model.fixture.ts';
import { FORMATS, problemOf, render, warningsOf } from './render.ts';

const PAIRS = COES.flatMap((coe) => ROLES.map((role): [Coe, Role] => [coe, role]));

const WITHOUT_SECRETS: readonly FormatName[] = ['upgrade', 'remove', 'daemonset-upgrade', 'daemonset-remove'];

/** And what of it is base64. */
function bareText(text: string): string {
  return text + Array.from(text.matchAll(/[A-Za-z0-9+/]{12,}={0,2}/g), ([word]) => Buffer.from(word, 'base64').toString()).join('\n');
}

describe.each(PAIRS)('a %s %s', (coe, role) => {
  const model = nodeModel({ cluster: { uuid: '5f0e7a1c-3a54-4a3e-9d0a-0d5a1c2b3d4e', name: 'c', coe }, role });
  const files = filesOf(model);
  const contentOf = (path: string): string => files.find((file) => file.path === path)?.content ?? '';

  test('has every file that another speaks of', () => {
    const paths = files.map(({ path }) => path);
    expect(new Set(paths).size).toBe(paths.length);
    const spoken = files.filter(({ path }) => !path.endsWith('/clients')).flatMap(({ content }) => content.match(/\/etc\/umbra\/[\w.-]+(?<![.:])/g) ?? []).filter((path) => !/\.(?:new|running|told)$/.test(path));
    expect(spoken.filter((path) => !paths.includes(path))).toEqual([]);
    for (const [, name] of contentOf('/etc/umbra/umbra.yaml').matchAll(/(?:ca|tokenFile|passwordFile): (?!\/)"?([\w.-]+)/g)) expect(paths).toContain(`/etc/umbra/${name}`);
    for (const [, name] of contentOf('/etc/umbra/umbra.yaml').matchAll(/(?:ca|tokenFile): (?!\/)"?([\w.-]+)/g)) expect(contentOf('/etc/systemd/system/umbra.service')).toContain(`LoadCredential=${name}:/etc/umbra/${name}\n`);
  });

  test('has its registry before whoever pulls', () => {
    for (const unit of ['umbra.service', 'umbra-install.service']) expect(contentOf(`/etc/systemd/system/${unit}`)).toContain('\nBefore=kubelet.service docker.service containerd.service crio.service\n');
  });

  test('has files with secrets for root alone', () => {
    expect(files.filter(({ content }) => content.includes('TOKEN-one-time')).map(({ path, mode, secret }) => [path, mode, secret])).toEqual([['/etc/umbra/bootstrap-token', 0o600, true]]);
    expect(files.find(({ path }) => path === '/etc/umbra/umbra.yaml')?.mode).toBe(0o600);
    expect(files.filter(({ mode }) => (mode & 0o022) !== 0)).toEqual([]);
  });

  test('tells the runtimes that it has', () => {
    const hosts = files.map(({ path }) => path).filter((path) => path.endsWith('/hosts.toml'));
    expect(hosts).toEqual(coe === 'kubernetes' ? ['docker.io', 'quay.io', 'registry.k8s.io', 'localhost:5000', 'registry.site.example.org:5000', '_default'].map((host) => `/etc/containerd/certs.d/${host}/hosts.toml`) : []);
    expect(contentOf('/etc/umbra/install')).toContain(coe === 'kubernetes' ? 'tell kubernetes,containers' : 'tell containers');
    expect(contentOf('/etc/umbra/install')).toContain('tell docker');
    expect(contentOf('/etc/umbra/install')).toContain(' --insecure-registries registry.site.example.org:5000 ');
  });

  const formats = FORMATS.filter((format) => problemOf(model, format) === undefined);
  test('has all formats but those of Kubernetes', () => {
    expect(FORMATS.filter((format) => !formats.includes(format))).toEqual(coe === 'kubernetes' ? [] : ['kubeadm', 'daemonset', 'daemonset-upgrade', 'daemonset-remove']);
  });

  test.each(formats)('as %s holds a token and no credential, unless in clear', (format) => {
    const secrets = ['LITERAL-password', 'PUSH-password'];
    const found = (text: string): string[] => secrets.filter((secret) => text.includes(secret));
    const bare = bareText(render(model, format).body.toString());
    expect(found(bare)).toEqual([]);
    expect(bare.includes('TOKEN-one-time')).toBe(!WITHOUT_SECRETS.includes(format));
    const inClear = bareText(render(literalModel({ ...model, login: literalModel().login, write: 'all' }), format).body.toString());
    expect(found(inClear)).toEqual(WITHOUT_SECRETS.includes(format) ? [] : secrets);
  });

  test.each(formats)('as %s is the same again', (format) => {
    expect(render(model, format).body.equals(render(structuredClone(model), format).body)).toBe(true);
  });
});

test('without fallback nobody asks upstream', () => {
  const text = filesOf(nodeModel({ fallback: 'none' })).map(({ path, content }) => `${path}\n${content}`).join('\n');
  expect(text).not.toMatch(/server = "https:/);
  expect(text).toContain('--strict');
  expect(text).toContain('server = "http://localhost:5000"\ncapabilities = ["pull", "resolve"]\n\n[host."http://localhost:5000"]');
});

test('proxies are told to all, with loopback left out of them', () => {
  const files = filesOf(nodeModel());
  const environments = files.filter(({ content }) => content.includes('Environment="HTTPS_PROXY='));
  expect(environments.map(({ path }) => path.split('/').slice(4).join('/'))).toEqual([
    'umbra.service', ...['docker', 'containerd', 'crio', 'kubelet'].map((service) => `${service}.service.d/90-umbra-proxy.conf`),
  ]);
  for (const { content } of environments) {
    expect(content).toContain('Environment="NO_PROXY=localhost,127.0.0.1,::1,.example.org,10.0.0.0/8"\n');
    expect(content).toContain(String.raw`Environment="HTTPS_PROXY=http://me:p%%24$'w\"d@proxy.example.org:3128"`);
  }
  // Whoever runs it; the clusters service is reached directly.
  const install = files.find(({ path }) => path === '/etc/umbra/install')?.content ?? '';
  expect(install).toMatch(/^\[ -n "\$root" \] \|\| export HTTP_PROXY=http:\S+3128 .* no_proxy=localhost,127\.0\.0\.1,::1,\.example\.org,10\.0\.0\.0\/8,clusters\.example\.org$/m);
  expect(filesOf(nodeModel({ proxies: undefined })).some(({ content }) => content.includes('PROXY='))).toBe(false);
});

test('what is in clear, and what docker cannot be told, is warned of', () => {
  expect(warningsOf(nodeModel())).toEqual([]);
  expect(warningsOf(literalModel())).toEqual([expect.stringMatching(/stands in what is rendered/)]);
  expect(warningsOf(nodeModel({ fallback: 'none', cluster: { ...nodeModel().cluster, coe: 'swarm' } }))).toEqual([expect.stringMatching(/docker has no way/)]);
});
