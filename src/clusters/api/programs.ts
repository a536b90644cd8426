/**
 * The program that nodes run: tarballs in a folder, `umbra-<version>-linux-<architecture>.tar.gz`, served by their digest and
 * to anybody, since a node that asks has nothing to show yet. `make dist` puts them there. What is sent is hashed on the way:
 * a file that was changed under its digest breaks off.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Transform } from 'node:stream';
import type { Answer, Exchange } from './exchange.ts';
import { notAllowed, type OpenResource } from './handler.ts';
import { ApiProblem } from './problem.ts';

export type Architecture = 'amd64' | 'arm64';

export interface Program {
  readonly version: string;
  readonly architecture: Architecture;
  /** Hexadecimal. */
  readonly sha256: string;
  readonly bytes: number;
}

export interface Programs {
  /** Those of this version, one of each architecture at most. */
  of(version: string): Promise<readonly Program[]>;
  /** `GET /v1/program/<sha256>` */
  readonly resource: OpenResource;
}

const NAME = /^umbra-(\d[\w.+-]*?)-linux-(amd64|arm64)\.tar\.gz$/;
const SHA256 = /^[0-9a-f]{64}$/;

interface Known extends Program {
  readonly path: string;
  /** When it changes, it is read anew. */
  readonly changedMs: number;
}

/** @param folder it need not be there, nor at the start */
export function createPrograms(folder: string): Programs {
  let known = new Map<string, Known>();
  let reading: Promise<void> | undefined;

  async function readAll(): Promise<void> {
    const names = await readdir(folder).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []; // node:fs throws nothing else
      throw error;
    });
    const next = new Map<string, Known>();
    for (const name of names) {
      const [, version, architecture] = NAME.exec(name) ?? [];
      if (version === undefined || architecture === undefined) continue;
      const path = join(folder, name);
      // What is no file, is not to be read or has gone since is no program, and keeps no other from being one.
      const at = await stat(path).catch(() => undefined);
      if (at?.isFile() !== true) continue;
      const { size, mtimeMs } = at;
      const before = known.get(path);
      const sha256 = before !== undefined && before.bytes === size && before.changedMs === mtimeMs ? before.sha256 : await digestOf(path).catch(() => undefined);
      if (sha256 === undefined) continue;
      next.set(path, { version, architecture: architecture as Architecture /* of the pattern */, sha256, bytes: size, path, changedMs: mtimeMs });
    }
    known = next;
  }

  async function all(): Promise<readonly Known[]> {
    await (reading ??= readAll().finally(() => (reading = undefined)));
    return [...known.values()];
  }

  /** Undefined: it is another file by now, or gone. */
  async function openAs({ path, bytes, changedMs }: Known): Promise<FileHandle | undefined> {
    const file = await open(path).catch(() => undefined);
    const at = await file?.stat();
    if (at?.size === bytes && at.mtimeMs === changedMs) return file;
    await file?.close();
    return undefined;
  }

  async function send(x: Exchange, { path, bytes, sha256 }: Known, file: FileHandle): Promise<'answered'> {
    x.res.writeHead(200, ['Content-Type', 'application/gzip', 'Content-Length', String(bytes), 'Cache-Control', 'public, max-age=31536000, immutable', 'ETag', `"${sha256}"`, 'X-OpenStack-Request-Id', x.requestId]);
    if (x.method === 'HEAD') {
      await file.close();
      x.res.end();
      return 'answered';
    }
    const hash = createHash('sha256');
    let left = bytes;
    const changed = (): Error => new Error(`${path} is not what it was when its digest was taken`);
    // The last bytes are held back until it is known that all of them are right.
    const checking = new Transform({
      transform(chunk: Buffer, _, done) {
        hash.update(chunk);
        x.report.bytesOut += chunk.length;
        left -= chunk.length;
        if (left > 0) done(null, chunk);
        else done(left === 0 && hash.digest('hex') === sha256 ? null : changed(), chunk);
      },
      flush: (done) => done(left > 0 ? changed() : null),
    });
    await pipeline(file.createReadStream(), checking, x.res).catch((error: unknown) => {
      // Whoever left is nobody's failure.
      if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
    });
    return 'answered';
  }

  return {
    of: async (version) => (await all()).filter((program) => program.version === version),
    resource: async (x, rest): Promise<Answer | 'answered' | undefined> => {
      const [sha256 = '', ...more] = rest;
      if (!SHA256.test(sha256) || more.length > 0) return undefined;
      if (x.method !== 'GET' && x.method !== 'HEAD') throw notAllowed('GET');
      // Files may be others since they were last looked at.
      for (const look of [async () => [...known.values()], all]) {
        const found = (await look()).find((program) => program.sha256 === sha256);
        const file = found && (await openAs(found));
        if (found !== undefined && file !== undefined) return await send(x, found, file);
      }
      throw new ApiProblem('not found', `There is no program with the SHA-256 ${sha256} here.`);
    },
  };
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
