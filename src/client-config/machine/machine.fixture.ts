/** A machine in a folder, for tests: what stands there, and a disk whose process dies where a test says. */
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseViewId } from '../../oci/name.ts';
import { ANY_MACHINE, parseRegistry } from '../request.ts';
import type { Request } from '../request.ts';
import type { Machine } from './apply.ts';
import { Disk } from './disk.ts';
import type { Telling } from './services.ts';

export class Crash extends Error {}

export type Content = string | { readonly link: string } | { readonly text: string; readonly mode: number };

export class TestMachine implements Disposable {
  readonly root: string;
  /** What the last run that ended, or died, did to the disk. */
  steps: string[] = [];

  constructor(files: Readonly<Record<string, Content>> = {}) {
    this.root = mkdtempSync(join(tmpdir(), 'umbra-machine-'));
    mkdirSync(join(this.root, 'var/lib'), { recursive: true });
    for (const [path, content] of Object.entries(files)) this.put(path, content);
  }

  /** As somebody else does it. */
  put(path: string, content: Content): void {
    const at = join(this.root, path);
    mkdirSync(dirname(at), { recursive: true });
    rmSync(at, { force: true });
    if (typeof content === 'string') writeFileSync(at, content);
    else if ('link' in content) symlinkSync(content.link, at);
    else {
      writeFileSync(at, content.text);
      chmodSync(at, content.mode);
    }
  }

  remove(path: string): void {
    rmSync(join(this.root, path));
  }

  text(path: string): string {
    return readFileSync(join(this.root, path), 'utf8');
  }

  mode(path: string): string {
    return (lstatSync(join(this.root, path)).mode & 0o7777).toString(8);
  }

  /** @param dieAt before which step of the disk the process dies */
  machine(dieAt: number = Number.POSITIVE_INFINITY, telling: Telling = { live: false, restart: false, systemd: { runs: false, call: () => ({ ok: false, output: '' }) } }): Machine {
    this.steps = [];
    const disk = new Disk(this.root, (what) => {
      if (this.steps.length >= dieAt) throw new Crash(what);
      this.steps.push(what);
    });
    return { disk, owner: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }, telling };
  }

  /** Every path with its mode and what is there. */
  snapshot(): Record<string, string> {
    return Object.fromEntries(
      readdirSync(this.root, { recursive: true, encoding: 'utf8' })
        .toSorted()
        .map((path) => {
          const at = join(this.root, path);
          const stat = lstatSync(at);
          const what = stat.isSymbolicLink() ? `-> ${readlinkSync(at)}` : stat.isDirectory() ? 'folder' : readFileSync(at, 'latin1');
          return [path, `${(stat.mode & 0o7777).toString(8)} ${what}`];
        }),
    );
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true });
  }
}

export function ask(changes: Partial<Request> = {}): Request {
  return {
    registry: parseRegistry('http://localhost:5000'),
    view: undefined,
    registryOfView: undefined,
    upstreams: ['docker.io'],
    insecure: [],
    others: false,
    searchRegistries: undefined,
    strict: false,
    ca: undefined,
    proxy: undefined,
    login: undefined,
    machine: ANY_MACHINE,
    ...changes,
  };
}

export const ELSEWHERE: Partial<Request> = {
  registry: parseRegistry('https://registry.example.org'),
  ca: '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n',
  login: 'Y2k6cHc=',
  upstreams: ['docker.io', 'quay.io'],
};

export const STAGING: Partial<Request> = { view: parseViewId('staging'), registryOfView: parseRegistry('http://localhost:5010') };
