/** package-lock.json brings native code to both architectures: npm locks what a registry did not have as an optional package without content, and passes over it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

interface Locked {
  readonly version: string;
  readonly integrity?: string;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
}

const { packages } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package-lock.json'), 'utf8')) as { readonly packages: Readonly<Record<string, Locked>> };

test.each(['x64', 'arm64'])('on %s', (cpu) => {
  const fits = (wanted: readonly string[] | undefined, have: string): boolean => wanted === undefined || wanted.includes(have);
  const ours = Object.entries(packages).filter(([path, { os, cpu: cpus, libc }]) => path !== '' && fits(os, 'linux') && fits(cpus, cpu) && fits(libc, 'glibc'));
  expect(ours.map(([path]) => path)).toEqual(expect.arrayContaining([`node_modules/node-linux-${cpu}`, `node_modules/@node-rs/bcrypt-linux-${cpu}-gnu`]));
  expect(ours.filter(([, { integrity }]) => integrity === undefined).map(([path]) => path)).toEqual([]);
});
