import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadConfig } from './load.ts';

const folder = mkdtempSync(join(tmpdir(), 'umbra-node-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const load = async (text: string): Promise<Awaited<ReturnType<typeof loadConfig>>['config']> => {
  writeFileSync(join(folder, 'umbra.yaml'), text);
  return (await loadConfig(join(folder, 'umbra.yaml'), { cwd: folder, env: {}, processors: 1 })).config;
};

test('a node of a cluster: files that come to be later are not looked for', async () => {
  const { node, auth } = await load('node: { clusters: "https://clusters.example.org/", tokenFile: token, state: state }\nauth: { anonymous: pull }');
  expect(node).toEqual({ clusters: 'https://clusters.example.org', ca: undefined, tokenFile: join(folder, 'token'), state: join(folder, 'state'), role: 'worker', storage: undefined, name: undefined });
  // Who may push is told by the service.
  expect(auth.htpasswd).toBe(join(folder, 'state/users.htpasswd'));
});

test.each([
  ['{ clusters: "https://c.example.org/v1", tokenFile: t, state: s }', 'node.clusters: expected an http(s) URL without /v1'],
  ['{ clusters: "https://c.example.org", state: s }', 'node.tokenFile: missing: A file that holds the one-time token'],
  ['{ clusters: "https://c.example.org", tokenFile: t, state: s, role: boss }', 'node.role: expected one of master, worker, got "boss"'],
  ['{ clusters: "https://c.example.org", tokenFile: t, state: s, ca: none.pem }', 'none.pem cannot be read'],
])('what is wrong is told: %s', async (node, message) => {
  await expect(load(`node: ${node}`)).rejects.toThrow(message);
});
