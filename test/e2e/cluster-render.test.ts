/**
 * What is rendered for nodes, before the programs that it is for: cloud-init, Ignition, systemd, Heat, PyYAML, and Kubernetes' own
 * schemas (of npm's kubernetes-models).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve as resolvePath } from 'node:path';
import fc from 'fast-check';
import { DaemonSet } from 'kubernetes-models/apps/v1/DaemonSet';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { Namespace } from 'kubernetes-models/v1/Namespace';
import { Secret } from 'kubernetes-models/v1/Secret';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { filesOf } from '../../src/clusters/render/files.ts';
import { cloudInit } from '../../src/clusters/render/formats/cloud-init.ts';
import { cloudInitFiles, filesBelow, program, written } from '../../src/clusters/render/formats/decoded.fixture.ts';
import type { Decoded } from '../../src/clusters/render/formats/decoded.fixture.ts';
import { hotFragment } from '../../src/clusters/render/formats/hot.ts';
import { nodeFile } from '../../src/clusters/render/node-file.ts';
import type { NodeFile } from '../../src/clusters/render/node-file.ts';
import { literalModel, nodeModel } from '../../src/clusters/render/node-model.fixture.ts';
import type { NodeModel } from '../../src/clusters/render/node-model.ts';
import { render } from '../../src/clusters/render/render.ts';
import { COES, ROLES } from '../../src/clusters/words.ts';

const HEAT = resolvePath(import.meta.dirname, '../services/heat-templates');

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-render-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function put(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

/** Both, since a program may tell of what is wrong and end well. */
function said(command: string, ...args: string[]): { readonly status: number | null; readonly stderr: string; readonly stdout: string } {
  const { status, stderr, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  return { status, stderr, stdout };
}

const expected = (files: readonly NodeFile[]): Decoded => Object.fromEntries(files.map(({ path, mode, content }) => [path, [mode, content]]));

const models: readonly [string, NodeModel][] = [
  ...COES.flatMap((coe) => ROLES.map((role): [string, NodeModel] => [`a ${coe} ${role}`, nodeModel({ role, cluster: { ...nodeModel().cluster, coe } })])),
  ['one with as little as there can be', nodeModel({ proxies: undefined, write: 'none', fallback: 'none', storage: { container: 'c', account: undefined, region: undefined, interface: 'internal', ca: undefined } })],
  ['one with a credential in clear', literalModel({ write: 'all' })],
];

describe.each(models)('%s', (_, model) => {
  test('is good user data to cloud-init', () => {
    const { status, stderr, stdout } = said('/usr/bin/python3', '/usr/bin/cloud-init', 'schema', '--config-file', put('user-data', render(model, 'cloud-init').body));
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^Valid cloud-config/);
  });

  test('is good to ignition-validate', () => {
    expect(said('ignition-validate', put('node.ign', render(model, 'ignition').body))).toEqual({ status: 0, stderr: '', stdout: '' });
  });

  test('has units of which systemd-analyze says nothing', () => {
    const units = filesOf(model).filter(({ path }) => path.startsWith('/etc/systemd/system/'));
    const machine = join(folder, 'machine');
    rmSync(machine, { recursive: true, force: true });
    for (const { path, content } of units) put(`machine${path}`, content);
    program(join(machine, 'opt/umbra/0.1.0/bin/umbra'), '#!/bin/sh\n');
    expect(verify(machine, units.map(({ path }) => join(machine, path)).filter((path) => path.endsWith('.service')))).toEqual({ status: 0, stderr: '', stdout: '' });
  });
});

/** With the /opt of a node in the place of this machine's, since a unit's program must be there. */
function verify(machine: string, units: readonly string[]): ReturnType<typeof said> {
  return said('unshare', '--mount', 'sh', '-c', 'mount --bind "$0/opt" /opt && exec systemd-analyze verify --man=no "$@"', machine, ...units);
}

test('systemd-analyze would have said something', () => {
  const [unit] = filesOf(nodeModel()).filter(({ path }) => path.endsWith('/umbra.service'));
  const machine = join(folder, 'wrong');
  program(join(machine, 'opt/umbra/0.1.0/bin/umbra'), '#!/bin/sh\n');
  const install = put('wrong/umbra-install.service', '[Service]\nType=oneshot\nExecStart=/bin/true\n');
  const path = put('wrong/umbra.service', unit?.content.replace('LockPersonality', 'LockPersonalty') ?? '');
  expect(verify(machine, [path, install]).stderr).toContain("Unknown key 'LockPersonalty'");
});

test('systemd finds little that the service could be kept from besides', () => {
  const [unit] = filesOf(nodeModel()).filter(({ path }) => path.endsWith('/umbra.service'));
  expect(said('systemd-analyze', 'security', '--offline=true', '--threshold=20', put('security/umbra.service', unit?.content ?? ''))).toMatchObject({ status: 0 });
});

describe('Heat', () => {
  interface HeatAnswer {
    readonly answer: { readonly Error?: string; readonly Parameters: Readonly<Record<string, { readonly NoEcho: string }>> };
    readonly parts: readonly (readonly [type: string, text: string])[];
  }
  /** One process for all: it takes seconds to load. */
  const heat = (paths: readonly string[]): readonly HeatAnswer[] =>
    execFileSync(HEAT, paths, { encoding: 'utf8', maxBuffer: 1e8 }).trim().split('\n').map((line) => JSON.parse(line) as HeatAnswer);

  test('takes every template, hides what is secret, and makes the node’s files of it', () => {
    const all = models.flatMap(([name, model], i) => (['hot', 'hot-server'] as const).map((format) => ({ name, model, path: put(`heat/${i}.${format}.yaml`, render(model, format).body) })));
    const answers = heat(all.map(({ path }) => path));
    for (const [i, { name, model }] of all.entries()) {
      const { answer, parts } = answers[i] as HeatAnswer;
      expect([name, answer.Error]).toEqual([name, undefined]);
      const hidden = Object.entries(answer.Parameters).filter(([, { NoEcho }]) => NoEcho === 'true').map(([parameter]) => parameter);
      expect(hidden).toHaveLength(filesOf(model).filter(({ secret }) => secret).length);
      expect(merged(parts)).toEqual(expected(filesOf(model)));
      expect(parts.at(-1)).toEqual(['text/x-shellscript', '#!/bin/sh\nexec sh /etc/umbra/install\n']);
    }
  });

  test('tells when something is wrong', () => {
    const wrong = render(nodeModel(), 'hot').body.toString().replace('      parts:', '      config:');
    expect(heat([put('heat/wrong.yaml', wrong)])[0]?.answer.Error).toMatch(/Unknown Property config/);
  });

  test('leaves any value as it is', () => {
    const samples = fc.sample(awkwardFiles, { numRuns: 40, seed: 1 });
    const answers = heat(samples.map((files, i) => put(`heat/sample.${i}.yaml`, hotFragment(files, 'x', 'localhost:5000'))));
    for (const [i, files] of samples.entries()) expect(merged((answers[i] as HeatAnswer).parts)).toEqual(expected(files));
  });

  function merged(parts: HeatAnswer['parts']): Decoded {
    return Object.assign({}, ...parts.filter(([type]) => type === 'text/cloud-config').map(([, text]) => cloudInitFiles(text)));
  }
});

const awkwardText = fc
  .array(fc.constantFrom("it's", '"', '\n', ' ', '\t', '$HOME', '${HOME}', '$x$', '%', '\\', '0123', '0x1', '12:30', 'yes', 'null', '=', '<<', '{{ x }}', '{ get_param: x }', '# x', ': ', '- ', '---\n', '|', '\r\n', '\u0085', '\u2028', 'ü', '🦭'), { maxLength: 8 })
  .map((parts) => parts.join(''));
const awkwardFiles = fc.array(fc.tuple(awkwardText, fc.boolean()), { maxLength: 6 }).map((contents) => contents.map(([content, secret], i) => nodeFile(`/etc/umbra/file-${i}`, content, { secret })));

test('PyYAML, by which cloud-init reads, finds any value as it is', () => {
  const samples = fc.sample(awkwardFiles, { numRuns: 200, seed: 2 });
  const paths = samples.map((files, i) => put(`yaml/${i}`, cloudInit(files, 'x')));
  const code = 'import json, sys, yaml\nprint(json.dumps([yaml.safe_load(open(path, encoding="utf-8", newline="")) for path in sys.argv[1:]]))';
  const read = JSON.parse(execFileSync('/usr/bin/python3', ['-c', code, ...paths], { encoding: 'utf8', maxBuffer: 1e8 })) as { write_files?: Parameters<typeof written>[0] }[];
  for (const [i, files] of samples.entries()) expect(written(read[i]?.write_files ?? [])).toEqual(expected(files));
});

describe('Kubernetes', () => {
  const KINDS = { DaemonSet, ConfigMap, Namespace, Secret } as const;

  test.each(ROLES)('has schemas that the manifests for a %s fit', (role) => {
    for (const model of [nodeModel({ role }), literalModel({ role, write: 'all', program: nodeModel().program })]) {
      for (const format of ['daemonset', 'daemonset-upgrade', 'daemonset-remove'] as const) {
        const documents = parseAllDocuments(render(model, format).body.toString(), { version: '1.1' }).map((document) => document.toJS() as { kind: keyof typeof KINDS });
        expect(documents.map(({ kind }) => kind)).toEqual({ daemonset: ['Namespace', 'ConfigMap', 'Secret', 'DaemonSet'], 'daemonset-upgrade': ['Namespace', 'ConfigMap', 'DaemonSet'], 'daemonset-remove': ['DaemonSet'] }[format]);
        for (const document of documents) new KINDS[document.kind](document as never).validate();
      }
    }
  });

  test('has schemas that would have told', () => {
    const [, , , workload] = parseAllDocuments(render(nodeModel(), 'daemonset').body.toString().replace('hostPort: 5000', 'hostPort: "5000"')).map((document): unknown => document.toJS());
    expect(() => new DaemonSet(workload as never).validate()).toThrow(/hostPort/);
  });
});

test('a tar is what is to stand at /', () => {
  const at = join(folder, 'unpacked');
  mkdirSync(at);
  execFileSync('tar', ['-xpf', put('a.tar', render(nodeModel(), 'tar').body), '--no-same-owner', '-C', at]);
  expect(filesBelow(at)).toEqual(expected(filesOf(nodeModel())));
});
