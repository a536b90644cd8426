import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
