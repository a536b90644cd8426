/** What a machine makes of each format: the files, as they then stand there. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parse } from 'yaml';

/** Path → mode and bytes (as text). */
export type Decoded = Readonly<Record<string, readonly [mode: number, content: string]>>;

interface Written {
  readonly path: string;
  readonly permissions: string;
  readonly encoding?: string;
  readonly content: string;
}

export function cloudInitFiles(text: string): Decoded {
  return written((parse(text, { version: '1.1' }) as { write_files: Written[] }).write_files);
}

export function written(files: readonly Written[]): Decoded {
  return Object.fromEntries(files.map(({ path, permissions, encoding, content }) => [path, [Number.parseInt(permissions, 8), encoding === undefined ? content : unbase64(content)]]));
}

export function unbase64(text: string): string {
  return Buffer.from(text, 'base64').toString();
}

/** GNU tar's word, not ours. */
export function tarFiles(body: Buffer): Decoded {
  return inFolder((folder) => {
    writeFileSync(join(folder, 'a.tar'), body);
    mkdirSync(join(folder, 'root'));
    execFileSync('tar', ['-xpf', '../a.tar', '--no-same-owner'], { cwd: join(folder, 'root') });
    return filesBelow(join(folder, 'root'));
  });
}

/** It is run, by the machine's own sh. */
export function shellFiles(script: string): Decoded {
  return inFolder((folder) => {
    writeFileSync(join(folder, 'script'), script);
    mkdirSync(join(folder, 'root'));
    execFileSync('sh', ['script'], { cwd: folder, env: { PATH: process.env['PATH'] ?? '', UMBRA_ROOT: join(folder, 'root') } });
    return filesBelow(join(folder, 'root'));
  });
}

function inFolder<Result>(use: (folder: string) => Result): Result {
  const folder = mkdtempSync(join(tmpdir(), 'umbra-render-'));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function filesBelow(root: string): Decoded {
  return Object.fromEntries(
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => statSync(join(root, name)).isFile())
      .map((name) => [`/${name}`, [statSync(join(root, name)).mode & 0o777, readFileSync(join(root, name), 'utf8')]]),
  );
}

/** Puts an executable there. */
export function program(path: string, script: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, script);
  chmodSync(path, 0o755);
}
