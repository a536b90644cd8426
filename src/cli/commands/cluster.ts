/** `umbra cluster …`: what is done with clusters whose nodes have registries. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve as resolvePath } from 'node:path';
import { loadCluster, nodeOf } from '../../clusters/render/cluster-file.ts';
import { FORMATS, problemOf, render, warningsOf } from '../../clusters/render/render.ts';
import type { Artefact, FormatName } from '../../clusters/render/render.ts';
import { ROLES } from '../../clusters/words.ts';
import type { Role } from '../../clusters/words.ts';
import { EXIT } from '../world.ts';
import type { World } from '../world.ts';

export interface RenderOptions {
  readonly file: string;
  /** With commas between them; not given: all. */
  readonly role?: string;
  readonly format?: string;
  /** A folder, or `-` for stdout. */
  readonly out: string;
}

export function renderCluster(options: RenderOptions, world: World): number {
  const roles = pick('--role', options.role, ROLES, world);
  const formats = pick('--format', options.format, FORMATS, world);
  if (roles === undefined || formats === undefined) return EXIT.usage;
  if (options.out === '-' && (roles.length > 1 || formats.length > 1)) {
    world.output.note(`error: on stdout there is room for one: give --role ${ROLES.join(' or ')} and --format ${FORMATS.join(', ')}; or a folder with -o`);
    return EXIT.usage;
  }
  const cluster = loadCluster(options.file, world);
  const nodes = roles.map((role: Role) => nodeOf(cluster, role));
  for (const warning of new Set(nodes.flatMap(warningsOf))) world.output.note(`umbra: ${warning}`);
  const pairs = nodes.flatMap((node) => formats.map((format: FormatName) => ({ node, format, problem: problemOf(node, format) })));
  // Of all formats, those that there can be; of those that were named, each.
  const problems = new Set(options.format === undefined ? [] : pairs.flatMap(({ problem }) => problem ?? []));
  for (const problem of problems) world.output.note(`${options.file}: ${problem}`);
  if (problems.size > 0) return EXIT.failed;
  const artefacts = pairs.filter(({ problem }) => problem === undefined).map(({ node, format }) => render(node, format));
  if (options.out === '-') world.output.bytes(artefacts[0]?.body ?? Buffer.alloc(0));
  else write(artefacts, options.out, world);
  return EXIT.ok;
}

/** They hold a token at least: nobody else may read them. */
function write(artefacts: readonly Artefact[], folder: string, world: World): void {
  const at = resolvePath(world.cwd, folder);
  mkdirSync(at, { recursive: true });
  for (const { fileName, body } of artefacts) {
    const path = join(at, fileName);
    // One that is there may be read by others, or lead elsewhere.
    rmSync(`${path}.new`, { force: true });
    writeFileSync(`${path}.new`, body, { flag: 'wx', mode: 0o600 });
    renameSync(`${path}.new`, path);
    world.output.result(join(folder, fileName));
  }
}

function pick<Word extends string>(option: string, given: string | undefined, words: readonly Word[], world: World): readonly Word[] | undefined {
  if (given === undefined) return words;
  const wanted = [...new Set(given.split(','))];
  const wrong = wanted.find((word) => !(words as readonly string[]).includes(word));
  if (wrong === undefined) return wanted as Word[]; // each is one of them
  world.output.note(`error: ${option} ${wrong}: expected ${words.join(', ')}\n(--help says more)`);
  return undefined;
}
