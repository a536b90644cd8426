/** `umbra migrate`: takes another registry's images over. What happens is told in words, or as one line of JSON each. */
import type { Config } from '../../config/config.ts';
import { load } from '../load.ts';
import { namePatternProblem, registryHostProblem } from '../../config/words.ts';
import type { Counts, MigrateEvent, Migration } from '../../migrate.ts';
import { parseViewId } from '../../oci/name.ts';
import { EXIT } from '../world.ts';
import type { World } from '../world.ts';

export interface MigrateOptions {
  readonly from: string;
  readonly config?: string;
  readonly view: string;
  readonly host?: string;
  readonly only?: readonly string[];
  readonly dryRun?: boolean;
  readonly verify?: boolean;
  readonly overwrite?: boolean;
  readonly blobs: string;
  readonly json?: boolean;
}

type Mode = Migration['mode'];

/** Between two lines of progress. */
const PROGRESS_MS = 200;
/** Where nobody watches. */
const PROGRESS_LOG_MS = 30_000;
const MAX_BLOBS_AT_ONCE = 64;

export async function migrateRegistry(options: MigrateOptions, world: World): Promise<number> {
  const { output } = world;
  const wrong = usageProblem(options);
  if (wrong !== undefined) {
    output.note(`umbra: ${wrong} (--help says more)`);
    return EXIT.usage;
  }
  const { config } = await load(options.config, world);
  if (config.storage.driver === 'memory' && options.dryRun !== true) {
    output.note('umbra: storage is memory, which is gone when this process ends');
    return EXIT.failed;
  }
  const host = options.host ?? hostOfListeners(config);
  if (host === undefined) {
    output.note('umbra: the listeners mean different registries by a name without a host: say with --host which one these names belong to');
    return EXIT.usage;
  }
  const { migrate } = await import('../../migrate.ts');
  const mode: Mode = options.dryRun === true ? 'dry-run' : options.verify === true ? 'verify' : 'move';
  const teller = options.json === true ? jsonTeller(world) : wordTeller(world, mode);
  const stopping = stopOnSignal();
  try {
    const counts = await migrate(config, {
      from: options.from, mode, host,
      cwd: world.cwd,
      env: world.env,
      view: parseViewId(options.view),
      only: options.only ?? [],
      overwrite: options.overwrite === true,
      blobsAtOnce: Number(options.blobs),
      tell: teller.tell,
      signal: stopping.signal,
    });
    teller.ended(counts);
    return counts.problems === 0 ? EXIT.ok : EXIT.failed;
  } catch (error) {
    teller.broke();
    if (!stopping.signal.aborted) throw error;
    output.note('umbra: stopped; the same command goes on from here');
    return EXIT.failed;
  } finally {
    stopping.done();
  }
}

function usageProblem({ dryRun, verify, overwrite, view, host, only, blobs }: MigrateOptions): string | undefined {
  if (dryRun === true && verify === true) return 'a dry run has nothing to verify: leave out --dry-run or --verify';
  if (overwrite === true && (dryRun === true || verify === true)) return '--overwrite goes with neither --dry-run nor --verify, which write nothing';
  if (!/^[1-9]\d?$/.test(blobs) || Number(blobs) > MAX_BLOBS_AT_ONCE) return `--blobs ${blobs}: expected a number from 1 to ${MAX_BLOBS_AT_ONCE}`;
  const hostProblem = host === undefined ? undefined : registryHostProblem(host);
  if (hostProblem !== undefined) return `--host ${host}: ${hostProblem}`;
  for (const pattern of only ?? []) {
    const problem = namePatternProblem(pattern);
    if (problem !== undefined) return `--only ${pattern}: ${problem}`;
  }
  try {
    parseViewId(view);
    return undefined;
  } catch (error) {
    return `--view: ${(error as Error).message}`; // parseViewId throws nothing else
  }
}

/** So that the names stay reachable under the paths that they had. */
function hostOfListeners({ listeners }: Config): string | undefined {
  const hosts = new Set(listeners.map(({ upstream }) => upstream));
  return hosts.size === 1 ? [...hosts][0] : undefined;
}

interface Teller {
  readonly tell: (event: MigrateEvent) => void;
  ended(counts: Counts): void;
  /** A line that is being written over is left standing. */
  broke(): void;
}

function jsonTeller({ output }: World): Teller {
  const line = (event: object): void => output.result(JSON.stringify(event));
  const due = every(PROGRESS_LOG_MS);
  return {
    tell: (event) => (event.event === 'progress' && !due() ? undefined : line(event)),
    ended: (counts) => line({ event: 'ended', counts }),
    broke: () => undefined,
  };
}

function wordTeller({ output }: World, mode: Mode): Teller {
  const { status } = output;
  const due = every(status === undefined ? PROGRESS_LOG_MS : PROGRESS_MS);
  const note = (text: string): void => {
    status?.('');
    output.note(text);
  };
  return {
    tell(event) {
      if (event.event !== 'progress') return note(describe(event, mode));
      if (due()) (status ?? output.note)(progress(event.counts, mode));
    },
    ended(counts) {
      status?.('');
      output.result(summary(counts, mode));
    },
    broke: () => status?.(''),
  };
}

const DOING: Readonly<Record<Mode, string>> = { 'dry-run': 'looking at', move: 'taking over', verify: 'comparing' };

function describe(event: Exclude<MigrateEvent, { readonly event: 'progress' }>, mode: Mode): string {
  switch (event.event) {
    case 'began': {
      const { kind, storage, view, host } = event;
      return `${DOING[mode]} a ${kind === 'distribution' ? 'Distribution registry' : 'zuul-registry'} on ${storage}${mode === 'dry-run' ? '' : `, ${mode === 'verify' ? 'with' : 'into'} the view ${view}`}; names without a host are ${host}'s`;
    }
    case 'repository':
      return `${event.name}: ${count(event.tags, 'tag')}, ${count(event.manifests, 'manifest')}${event.problems === 0 ? '' : `, ${count(event.problems, 'problem')}`}`;
    case 'kept':
      return `${event.name}:${event.tag} was moved here since, to ${event.here}; it is left so (the source has ${event.source})`;
    case 'problem': {
      const { repository, tags = [], manifest, blob, kind, message } = event;
      const tagged = tags.length === 0 ? '' : `:${tags.slice(0, 3).join(',')}${tags.length > 3 ? `… (${tags.length} tags)` : ''}`;
      const what = [manifest, blob === undefined ? undefined : `blob ${blob}`].filter((part) => part !== undefined).join(', ');
      return `problem: ${repository}${tagged}${what === '' ? '' : ` ${what}`}: ${kind}: ${message}`;
    }
  }
}

function progress(counts: Counts, mode: Mode): string {
  const found = `${count(counts.repositories, 'repository', 'repositories')}, ${count(counts.tags, 'tag')}, ${count(counts.manifests, 'manifest')}`;
  const moved = { 'dry-run': '', move: `, ${count(counts.copiedBlobs, 'blob')} copied (${bytes(counts.copiedBytes)})`, verify: `, ${count(counts.readBlobs, 'blob')} read (${bytes(counts.readBytes)})` }[mode];
  return `${found}${moved}${counts.problems === 0 ? '' : `, ${count(counts.problems, 'problem')}`}`;
}

function summary(counts: Counts, mode: Mode): string {
  const { repositories, tags, manifests, blobs, unneededBlobs, keptTags, problems } = counts;
  const lines = [`found ${count(repositories, 'repository', 'repositories')}, ${count(tags, 'tag')}, ${count(manifests, 'manifest')}, ${count(blobs, 'blob')} of ${bytes(counts.bytes)}`];
  if (mode === 'move') lines.push(`wrote ${count(counts.copiedBlobs, 'blob')} (${bytes(counts.copiedBytes)}${counts.serverCopiedBytes === 0 ? '' : `, ${bytes(counts.serverCopiedBytes)} of it copied by the store itself`}), ${count(counts.writtenManifests, 'manifest')}, ${count(counts.writtenTags, 'tag')}; the rest was here`);
  if (mode === 'verify') lines.push(`read ${count(counts.readBlobs, 'blob')} back (${bytes(counts.readBytes)})`);
  if (keptTags > 0) lines.push(`left ${count(keptTags, 'tag')} as they were moved here since (--overwrite moves them back)`);
  if (unneededBlobs > 0) lines.push(`${mode === 'dry-run' ? 'would leave' : 'left'} ${count(unneededBlobs, 'blob')} that no manifest of its repository needs`);
  if (problems > 0) lines.push(`${count(problems, 'problem')}, named above; everything else ${OUTCOME[mode]}`);
  else lines.push(mode === 'verify' ? 'all of it is here, with the same digests' : mode === 'move' ? 'all of it is here now' : 'all of it can be taken (bytes of blobs were not read)');
  return lines.join('\n');
}

const OUTCOME: Readonly<Record<Mode, string>> = { 'dry-run': 'can be taken', move: 'is here now', verify: 'is here, with the same digests' };

function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

function bytes(number: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = number;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** True once in so many milliseconds. */
function every(ms: number): () => boolean {
  let last = Date.now();
  return () => {
    const now = Date.now();
    if (now - last < ms) return false;
    last = now;
    return true;
  };
}

/** What is under way is given up at the first signal; a second one ends the process as it always does. */
function stopOnSignal(): { readonly signal: AbortSignal; readonly done: () => void } {
  const stopping = new AbortController();
  const stop = (): void => {
    done();
    stopping.abort(new Error('stopped'));
  };
  const done = (): void => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, stop);
  };
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, stop);
  return { signal: stopping.signal, done };
}
