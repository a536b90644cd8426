/** Whatever a value holds, every format brings it to the node as it is. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { nodeFile } from '../node-file.ts';
import type { NodeFile } from '../node-file.ts';
import { INSTALL_SCRIPT } from '../places.ts';
import { cloudInit } from './cloud-init.ts';
import { butane } from './butane.ts';
import { daemonSet } from './daemon-set.ts';
import { hotFragment, hotServer } from './hot.ts';
import { ignition } from './ignition.ts';
import { kubeadm } from './kubeadm.ts';
import { nodeModel } from '../node-model.fixture.ts';
import { butaneFiles, cloudInitFiles, daemonSetFiles, expanded, hotFiles, ignitionFiles, kubeadmFiles, shellFiles, tarFiles } from './decoded.fixture.ts';
import type { Decoded } from './decoded.fixture.ts';
import { shell } from './shell.ts';
import { tar } from './tar.ts';

const AWKWARD = [
  "it's", '"quoted"', 'a\nb', '\n', '\n\n', ' leading', 'trailing ', 'tab\there', '\ttab', '$HOME', '${HOME}', '$(id)', '`id`', '%', '%n', '%%', '\\', '\\n', "'\\''",
  '0123', '123', '1e3', '0x1', '0o7', '1_000', '12:30:45', '2020-01-01', 'yes', 'no', 'on', 'null', '~', '=', '<<', '', '{{ ds }}', '{% raw %}', '{# x #}', '{ get_param: x }', 'get_param',
  '$x$', '#', '# x', ': ', '- ', '---', '...', '&a', '*a', '!x', '|', '>', '@', 'EOF', '\r\n', '\r', '\u0007', '\u007F', '\u0085', '\u2028', '\uFEFF', 'ü', '🦭', '-e', '-n', 'a\\',
];

/** Text without NUL, which neither a shell nor YAML has a way to say. */
const content = fc.oneof(
  fc.constantFrom(...AWKWARD),
  fc.array(fc.oneof(fc.constantFrom(...AWKWARD), fc.string({ unit: 'grapheme-ascii' })), { maxLength: 6 }).map((parts) => parts.join('')),
  fc.array(fc.constantFrom(...AWKWARD), { maxLength: 6 }).map((parts) => parts.join('\n')),
  fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '')),
);
const path = fc.array(fc.stringMatching(/^[A-Za-z0-9:@+_-][A-Za-z0-9:@+_.-]{0,60}$/), { minLength: 1, maxLength: 4 }).map((parts) => `/etc/x/${parts.join('/')}/file`);
const unit = fc.tuple(fc.stringMatching(/^[a-z]{1,9}\.service$/), content).map(([at, text]) => nodeFile(`/etc/systemd/system/${at}`, text));
const files = fc.tuple(fc.dictionary(path, fc.tuple(content, fc.boolean()), { maxKeys: 8 }), unit).map(([entries, service]): readonly NodeFile[] => [
  ...Object.entries(entries).map(([at, [text, secret]]) => nodeFile(at, text, { secret })),
  service,
  nodeFile(INSTALL_SCRIPT, 'exit 0\n', { mode: 0o755 }),
]);
const name = content.map((text) => text.replaceAll(/\p{Cc}/gu, ''));

describe.each<[string, (files: readonly NodeFile[], about: string) => Decoded, number]>([
  ['cloud-init', (given, about) => cloudInitFiles(cloudInit(given, about)), 200],
  ['ignition', (given) => ignitionFiles(ignition(given)), 100],
  ['butane', (given, about) => butaneFiles(butane(given, about)), 150],
  ['kubeadm', (given, about) => kubeadmFiles(kubeadm(given, about)), 150],
  ['hot', (given, about) => hotFiles(hotFragment(given, about, 'localhost:5000')), 150],
  ['hot-server', (given, about) => hotFiles(hotServer(given, about, 'localhost:5000')), 30],
  ['shell', (given, about) => shellFiles(shell(given, about)), 8],
  ['tar', (given) => tarFiles(tar(given)), 10],
])('%s', (_, decoded, runs) => {
  test('brings any value as it is', () => {
    fc.assert(
      fc.property(files, name, (given, about) => {
        expect(decoded(given, about)).toEqual(Object.fromEntries(given.map(({ path: at, mode, content: text }) => [at, [mode, text]])));
      }),
      { numRuns: runs },
    );
  });
});

test('daemonset brings any value as it is', () => {
  const key = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,40}$/);
  fc.assert(
    fc.property(fc.dictionary(key, fc.tuple(content, fc.boolean()), { maxKeys: 8 }), content, name, content, (entries, prepare, about, proxy) => {
      const own = Object.entries(entries).map(([at, [text, secret]]) => nodeFile(`/etc/umbra/${at}`, text, { secret }));
      const text = daemonSet(nodeModel({ proxies: { http: proxy, https: undefined, none: [] } }), { own, prepare, fingerprint: 'f' }, about);
      expect(daemonSetFiles(text)).toEqual(Object.fromEntries(Object.entries(entries).map(([at, [is]]) => [at, is])));
      const [, , , workload] = parseAllDocuments(text).map((document): unknown => document.toJS());
      const { spec } = workload as { spec: { template: { spec: { initContainers: { command: string[] }[]; containers: { env: { name: string; value: string }[] }[] } } } };
      expect(expanded(spec.template.spec.initContainers[0]?.command[2] ?? '', { HOME: 'wrong', x: 'wrong' })).toBe(prepare);
      expect(expanded(spec.template.spec.containers[0]?.env.find(({ name: variable }) => variable === 'HTTP_PROXY')?.value ?? '', { HOME: 'wrong' })).toBe(proxy);
    }),
    { numRuns: 150 },
  );
});

test('a tar of the same files has the same bytes, in whichever order they are given', () => {
  fc.assert(
    fc.property(files, (given) => {
      expect(tar(given).equals(tar(given.toReversed()))).toBe(true);
    }),
  );
});
