/** What a machine already has that bears on what our files say. */
import { at, readToml } from '../merge/toml-text.ts';
import type { Table } from '../merge/toml-text.ts';
import { DROP_IN, criFileOf, importsOf } from '../clients/containerd-config.ts';
import { REGISTRIES } from '../clients/containers.ts';
import { ANY_MACHINE, CONTAINERD_CONFIG, Refused } from '../request.ts';
import type { ClientName, MachineFacts } from '../request.ts';
import type { Disk } from './disk.ts';

const REGISTRIES_FOLDER = REGISTRIES.slice(0, REGISTRIES.lastIndexOf('/'));

/** @throws Refused where a file that matters cannot be understood, or would have ours ignored */
export function survey(disk: Disk, home: string, clients: readonly ClientName[], upstreams: readonly string[]): MachineFacts {
  const runtimes = [...(disk.exists('/etc/containerd') ? (['containerd'] as const) : []), ...(disk.exists('/etc/crio') ? (['cri-o'] as const) : [])];
  const concerns = (client: 'containers' | 'containerd' | 'cri-o'): boolean => clients.includes(client) || (client !== 'containers' && clients.includes('kubernetes') && runtimes.includes(client));
  const text = concerns('containerd') ? textAt(disk, CONTAINERD_CONFIG) : undefined;
  const cri = text === undefined ? undefined : criFileOf(text, ...imported(disk, text));
  const others = concerns('containers') || concerns('cri-o') ? otherRegistries(disk) : [];
  for (const [path, file] of others) if (path > REGISTRIES) refuseOverriding(path, file, upstreams);
  return {
    home,
    hostsDir: cri?.hostsDir ?? ANY_MACHINE.hostsDir,
    criFile: cri === undefined ? ANY_MACHINE.criFile : cri.file,
    hasSearchRegistries: others.some(([, file]) => file['unqualified-search-registries'] !== undefined),
    runtimes,
  };
}

/** What containerd's config.toml imports besides our own drop-in, and a folder of which it takes all files. `*` is known in the last part of a path only. */
function imported(disk: Disk, text: string): Parameters<typeof criFileOf> extends [unknown, ...infer Rest] ? Rest : never {
  const patterns = importsOf(text).map((pattern) => (pattern.startsWith('/') ? pattern : `${CONTAINERD_CONFIG.slice(0, CONTAINERD_CONFIG.lastIndexOf('/'))}/${pattern}`));
  const files = patterns.flatMap((pattern) => {
    const folder = pattern.slice(0, pattern.lastIndexOf('/'));
    const name = new RegExp(`^${pattern.slice(folder.length + 1).replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '.*').replaceAll('?', '.')}$`);
    return disk.list(folder).filter((file) => name.test(file) && file !== DROP_IN).map((file) => `${folder}/${file}`);
  });
  const all = patterns.find((pattern) => pattern.endsWith('/*.toml') && !pattern.slice(0, -'/*.toml'.length).includes('*'));
  const read = files.flatMap((path) => {
    const content = textAt(disk, path);
    return content === undefined ? [] : [{ path, text: content }];
  });
  return [read, all?.slice(0, -'/*.toml'.length)];
}

/** All that podman and its kind read besides our file, in that order. */
function otherRegistries(disk: Disk): readonly (readonly [string, Table])[] {
  const dropIns = disk.list(REGISTRIES_FOLDER).filter((name) => name.endsWith('.conf'));
  return ['/etc/containers/registries.conf', ...dropIns.map((name) => `${REGISTRIES_FOLDER}/${name}`)].flatMap((path) => {
    const text = path === REGISTRIES ? undefined : textAt(disk, path);
    return text === undefined ? [] : [[path, readToml(text, path)] as const];
  });
}

/** The last file that speaks of a prefix is the one that counts. */
function refuseOverriding(path: string, file: Table, upstreams: readonly string[]): void {
  const tables = at(file, ['registry']);
  for (const table of Array.isArray(tables) ? (tables as Table[]) : []) {
    const prefix = String(table['prefix'] ?? table['location']);
    if (upstreams.includes(prefix)) throw new Refused(`${path} is read after ${REGISTRIES} and says something else of ${prefix}: give it a name that comes before, or take ${prefix} out of it`);
  }
}

function textAt(disk: Disk, path: string): string | undefined {
  return disk.read(disk.resolve(path))?.bytes.toString();
}
