import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createOutput } from '../output.ts';
import { run } from '../program.ts';

let cwd = '';
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'umbra-client-config-'));
});
afterAll(() => rmSync(cwd, { recursive: true }));

async function umbra(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  const output = createOutput({ write: (text: string) => (stdout += text) }, { write: (text: string) => (stderr += text) });
  const code = await run(args, { cwd, env: {}, processors: 2, output }, { umbra: '1', node: '1', platform: 'none' });
  return { code, stdout, stderr };
}

describe('client-config', () => {
  test('prints each file, its path before it, and what to do then', async () => {
    expect(await umbra('client-config', '--for', 'docker', '--upstreams', 'docker.io')).toEqual({
      code: 0,
      stdout: `# /etc/docker/daemon.json, mode 0644 (merged into the JSON that is there)
{
  "registry-mirrors": [
    "http://localhost:5000"
  ]
}

# then restart docker: builds with BuildKit take mirrors up only then; for docker pull alone, a reload does
`,
      stderr: '',
    });
  });

  test('takes upstreams, TLS and views from the configuration', async () => {
    writeFileSync(
      join(cwd, 'views.yaml'),
      'listeners: [{ address: "localhost:5000" }, { address: "localhost:5010", view: staging }]\nviews: { define: { staging: { parents: [main] } } }\nupstreams: { docker.io: {}, quay.io: {} }\n',
    );
    const { stdout } = await umbra('client-config', '--for', 'docker,buildkit', '--view', 'staging', '-c', 'views.yaml', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      files: [
        { path: '/etc/docker/daemon.json', how: 'json', clients: ['docker'], content: expect.stringContaining('"http://localhost:5010"') as string },
        { path: '/etc/buildkit/buildkitd.toml', content: expect.stringMatching(/"localhost:5000\/staging\.view\/docker\.io"[^]*staging\.view\/quay\.io/) as string },
      ],
    });
  });

  test('never prints a password', async () => {
    writeFileSync(join(cwd, 'password'), 'pässword\n');
    const { stdout } = await umbra('client-config', '--for', 'docker,containers,containerd,kubernetes', '--username', 'ci', '--password-file', 'password', '--registry', 'https://r.example');
    expect(stdout).toContain('"auth": "***"');
    expect(stdout).toContain('Authorization = "Basic ***"');
    expect(stdout).not.toContain(Buffer.from('ci:pässword').toString('base64'));
    expect(stdout).not.toContain('pässword');
  });

  test('says what a client cannot be told', async () => {
    expect(await umbra('client-config', '--for', 'buildkit', '--strict')).toMatchObject({ code: 1, stdout: '', stderr: 'umbra: BuildKit has no strict mode: it asks upstream last, whatever its file says\n' });
  });
});

describe('client-config apply and revert', () => {
  test('say what became of each file, in words and in JSON', async () => {
    const root = join(cwd, 'root');
    const words = (...more: string[]): Promise<object> => umbra('client-config', ...more, '--root', root);
    expect(await words('apply', '--for', 'containers', '--upstreams', 'quay.io')).toEqual({ code: 0, stdout: 'create /etc/containers/registries.conf.d/900-umbra.conf\n', stderr: '' });
    expect(await words('apply', '--for', 'containers', '--upstreams', 'quay.io')).toEqual({ code: 0, stdout: 'nothing to do: these clients are told so already\n', stderr: '' });
    expect(await words('revert', '--dry-run')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^remove \S+900-umbra\.conf\n {2}- # Written by/) as string });
    const json = await umbra('client-config', 'revert', '--root', root, '--json');
    expect(JSON.parse(json.stdout)).toEqual({ ok: true, dryRun: false, files: [{ path: '/etc/containers/registries.conf.d/900-umbra.conf', action: 'remove' }], refusals: [], due: [], services: [], notes: [] });
    expect(await words('revert')).toEqual({ code: 0, stdout: 'nothing to revert\n', stderr: '' });
  });

  test('say what they cannot do, and print no password', async () => {
    const root = join(cwd, 'other');
    writeFileSync(join(cwd, 'password'), 'hunter2');
    mkdirSync(join(root, 'etc/docker'), { recursive: true });
    writeFileSync(join(root, 'etc/docker/daemon.json'), '{"registry-mirrors": 1}');
    const args = ['client-config', 'apply', '--root', root, '--for', 'docker,containerd', '--username', 'ci', '--password-file', 'password'];
    expect(await umbra(...args)).toEqual({ code: 1, stdout: '', stderr: 'umbra: /etc/docker/daemon.json: "registry-mirrors" is no list of strings: mend it first\n' });
    writeFileSync(join(root, 'etc/docker/daemon.json'), '{}');
    const { code, stdout } = await umbra(...args, '--dry-run');
    expect([code, stdout]).toEqual([0, expect.stringContaining('hosts.toml (it holds a login, so its lines are not shown)')]);
    expect(stdout).not.toContain(Buffer.from('ci:hunter2').toString('base64'));
  });
});
