import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Change } from '../change.ts';
import { ANY_MACHINE } from '../request.ts';
import { withoutSwaps } from '../merge/toml-text.ts';
import { criHostsDir, hostsDirOf } from './containerd-config.ts';

const DIR = '/etc/containerd/certs.d';
const V2 = 'plugins."io.containerd.grpc.v1.cri".registry';
const V3 = 'plugins."io.containerd.cri.v1.images".registry';
const change = criHostsDir(DIR, ANY_MACHINE.criFile)[0] as Change;
const block = (lines: string): string => `# umbra client-config: begin\n${lines}\n# umbra client-config: end\n`;

describe('config_path', () => {
  test.each([
    ['a file without the table', 'version = 2\n[grpc]\n  gid = 0\n', `version = 2\n[grpc]\n  gid = 0\n${block(`[${V2}]\n  config_path = "${DIR}"`)}`],
    ['one without an end of line', 'version = 2', `version = 2\n${block(`[${V2}]\n  config_path = "${DIR}"`)}`],
    ['containerd 2’s format', 'version = 3\n', `version = 3\n${block(`[${V3}]\n  config_path = "${DIR}"`)}`],
    ['a table without the key', `version = 2\n  [${V2}] # x\n[grpc]\n`, `version = 2\n  [${V2}] # x\n${block(`  config_path = "${DIR}"`)}[grpc]\n`],
    ['the default that is printed', `version = 3\n[ plugins.'io.containerd.cri.v1.images'.registry ]\n  x = 1\n  config_path = ''\n`, `version = 3\n[ plugins.'io.containerd.cri.v1.images'.registry ]\n  x = 1\n${block(`  config_path = "${DIR}"`)}`],
  ])('comes into %s', (_, before, after) => {
    const merged = change.merge(before);
    expect(merged.text).toBe(after);
    expect(hostsDirOf(merged.text)).toBe(DIR);
    if (merged.undo.kind !== 'text') throw new Error('not text');
    expect(withoutSwaps(`# theirs\n${merged.text}`, merged.undo.swaps, '/c').trimEnd()).toBe(`# theirs\n${before}`.trimEnd());
  });

  test.each([
    ['where one is named', `version = 2\n[${V2}]\nconfig_path = "/my/hosts:${DIR}"\n`],
    ['where there is no CRI', 'disabled_plugins = ["cri"]\n'],
  ])('is left alone %s', (_, text) => expect(change.merge(text).text).toBe(text));

  test.each([
    ['an old file', '[grpc]\n', /version is "not set", expected 2 or 3/],
    ['mirrors of the old kind', `version = 2\n[${V2}.mirrors."docker.io"]\n  endpoint = ["https://x"]\n`, /registry\.mirrors is set, which rules out config_path/],
    ['a table that is written inline', 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nregistry = { config_path = "" }\n', /cannot be added to: set config_path/],
    ['a table that is implied', `version = 2\n[${V2}.auths]\n`, /cannot be added to/],
    ['what is no TOML', 'version = 2\n[', /cannot be read as TOML/],
    ['a line of a string that looks like it', `version = 2\nx = """\n[${V2}]\n"""\n[${V2}.auths]\n`, /do not fit in as text|cannot be added to/],
  ])('does not come into %s', (_, text, message) => expect(() => change.merge(text)).toThrow(message));

  test('says nothing but itself, whatever stands around it', () => {
    const line = fc.constantFrom(`[${V2}]`, `[${V2}.auths]`, '[grpc]', 'config_path = ""', "config_path = ''", 'x = """', '"""', '# y', 'z = [', '[1]', ']', '[[w]]');
    let fitted = 0;
    fc.assert(
      fc.property(fc.array(line, { maxLength: 7 }), (lines) => {
        const text = ['version = 2', ...lines, ''].join('\n');
        let merged: ReturnType<typeof change.merge>;
        try {
          merged = change.merge(text);
        } catch {
          return;
        }
        fitted += 1;
        expect(hostsDirOf(merged.text)).toBe(DIR);
        if (merged.undo.kind === 'text') expect(withoutSwaps(merged.text, merged.undo.swaps, '/c')).toBe(text);
      }),
      { numRuns: 500 },
    );
    expect(fitted).toBeGreaterThan(20);
  });
});
