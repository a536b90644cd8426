/** What every section gets: the options, a folder of its own under one temporary one, and a line to say what is going on. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Options } from './options.ts';

export interface Bench {
  readonly options: Options;
  /** A fresh folder that is removed with everything else. */
  folder(name: string): Promise<string>;
  say(message: string): void;
  close(): Promise<void>;
}

export async function openBench(options: Options): Promise<Bench> {
  const root = await mkdtemp(join(options.folder ?? tmpdir(), 'umbra-bench-'));
  let count = 0;
  return {
    options,
    async folder(name) {
      const path = join(root, `${count++}-${name}`);
      await mkdir(path);
      return path;
    },
    say: (message) => void process.stderr.write(`${message}\n`),
    close: () => rm(root, { recursive: true, force: true }),
  };
}
