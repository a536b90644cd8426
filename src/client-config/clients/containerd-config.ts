/**
 * The one word of containerd's config.toml that matters here: where its CRI plugin looks for hosts.toml. The plugin that
 * pulls has another name in containerd 2's own format (version = 3); it reads version 2 as well.
 * https://github.com/containerd/containerd/blob/main/docs/cri/registry.md
 *
 * Before containerd 2, a file that is imported takes the place of all that was said of a plugin before it
 * (https://github.com/containerd/containerd/pull/9982): a drop-in would take the sandbox image and the runtimes away, and where
 * a file is imported that speaks of the plugin, only that one counts.
 */
import type { Change, Merged, ServiceNeed } from '../change.ts';
import { at, insert, isTable, readToml } from '../merge/toml-text.ts';
import type { Table } from '../merge/toml-text.ts';
import { wholeFile } from '../merge/whole.ts';
import { CONTAINERD_CONFIG, Refused } from '../request.ts';
import type { CriFile } from '../request.ts';
import { OURS, marked, quoted } from '../toml-words.ts';

/** In a folder that config.toml imports. It comes late, as others' names go. */
export const DROP_IN = '90-umbra.toml';
const PLUGINS: Readonly<Record<number, string>> = { 2: 'io.containerd.grpc.v1.cri', 3: 'io.containerd.cri.v1.images' };
const NEEDS: ServiceNeed = { service: 'containerd', action: 'restart', why: 'config_path is read at start; hosts.toml is not' };

/** @param file undefined: nothing is to be said */
export function criHostsDir(dir: string, file: CriFile | undefined): readonly Change[] {
  if (file === undefined) return [];
  const value = `config_path = ${quoted(dir)}\n`;
  if (file.ours) return [wholeFile({ path: file.path, content: `${OURS}version = ${file.version}\n\n${header(file.version)}\n  ${value}`, needs: NEEDS })];
  const block = marked(`${header(file.version)}\n  ${value}`);
  // Somebody may add to the file: then `version` stays when ours goes.
  const content = `version = ${file.version}\n\n${block}`;
  return [
    {
      path: file.path,
      mode: 0o644,
      how: 'toml',
      content,
      secret: false,
      inHome: false,
      needs: NEEDS,
      merge: (text) => (text === undefined ? { text: content, undo: { kind: 'text', swaps: [{ was: '', is: block }] } } : merge(text, dir, value, file)),
    },
  ];
}

/**
 * Which of containerd's files is to say it, and the folder that is named already.
 * @param imported those that config.toml imports, but for ours, in the order in which they are read
 * @throws Refused where one cannot be understood
 */
export function criFileOf(text: string, imported: readonly { readonly path: string; readonly text: string }[], dropInFolder: string | undefined): { readonly file: CriFile | undefined; readonly hostsDir: string | undefined } {
  const version = Number(readToml(text, CONTAINERD_CONFIG)['version']);
  const root = { path: CONTAINERD_CONFIG, version, ours: false };
  const own = hostsDirOf(text);
  const named = imported.flatMap((one) => hostsDirOf(one.text, one.path, version) ?? []).at(-1);
  if (version !== 3) {
    const last = imported.findLast((one) => at(readToml(one.text, one.path), ['plugins', PLUGINS[version] ?? '']) !== undefined);
    return last === undefined ? { file: root, hostsDir: own } : { file: { ...root, path: last.path }, hostsDir: hostsDirOf(last.text, last.path, version) ?? own };
  }
  if (named !== undefined) return { file: undefined, hostsDir: named };
  return { file: own === undefined && dropInFolder !== undefined ? { path: `${dropInFolder}/${DROP_IN}`, version, ours: true } : root, hostsDir: own };
}

/** The patterns of what config.toml imports. */
export function importsOf(text: string): readonly string[] {
  const { imports } = readToml(text, CONTAINERD_CONFIG);
  return Array.isArray(imports) ? imports.filter((pattern) => typeof pattern === 'string') : [];
}

/** The folder that the file names, or undefined. @throws Refused where the file cannot be understood */
export function hostsDirOf(text: string, path: string = CONTAINERD_CONFIG, version?: number): string | undefined {
  const file = readToml(text, path);
  const named = pluginOf(file, version) === undefined ? undefined : at(file, [...keysOf(file, version), 'config_path']);
  // Several may be named, as in PATH.
  return typeof named === 'string' && named !== '' ? named.split(':')[0] : undefined;
}

function merge(text: string, dir: string, value: string, { path: name, version: usual }: CriFile): Merged {
  const file = readToml(text, name);
  // config.toml says it of those that it imports, too.
  const version = name === CONTAINERD_CONFIG ? undefined : usual;
  const unchanged: Merged = { text, undo: { kind: 'text', swaps: [] } };
  const disabled = file['disabled_plugins'];
  if (Array.isArray(disabled) && disabled.some((name) => name === 'cri' || Object.values(PLUGINS).includes(String(name)))) return unchanged;
  const plugin = pluginOf(file, version);
  if (plugin === undefined) {
    throw new Refused(`${name}: version is ${JSON.stringify(file['version'] ?? 'not set')}, expected 2 or 3: bring it up to date (containerd config migrate), then apply again`);
  }
  const path = keysOf(file, version);
  if (hostsDirOf(text, name, version) !== undefined) return unchanged;
  // The plugin does not start where both are set.
  for (const old of ['mirrors', 'configs']) {
    const there = at(file, [...path, old]);
    if (isTable(there) && Object.keys(there).length > 0) throw new Refused(`${name}: plugins."${plugin}".registry.${old} is set, which rules out config_path: move it to hosts.toml files and take it out`);
  }
  const says = ['plugins', plugin, 'registry'].reduceRight<Table>((inner, key) => ({ [key]: inner }), { config_path: dir });
  const registry = at(file, path);
  if (registry === undefined) return insert(text, { offset: text.length, is: marked(`${header(Number(file['version'] ?? version))}\n  ${value}`), says }, name);
  // Its own default, "", stands in what `containerd config default` prints.
  const line = isTable(registry) && registry['config_path'] === '' ? configPathLine(text, plugin) : undefined;
  if (line !== undefined) return insert(text, { offset: line.offset, was: line.text, is: marked(line.text.replace(/=.*/, `= ${quoted(dir)}`)), says }, name);
  const offset = isTable(registry) && registry['config_path'] === undefined ? afterHeader(text, plugin) : undefined;
  if (offset !== undefined) return insert(text, { offset, is: marked(`  ${value}`), says }, name);
  throw new Refused(`${name}: plugins."${plugin}".registry is written in a way that cannot be added to: set ${value.trim()} there by hand`);
}

function pluginOf(file: Table, version?: number): string | undefined {
  return PLUGINS[Number(file['version'] ?? version)];
}

function keysOf(file: Table, version?: number): readonly string[] {
  return ['plugins', pluginOf(file, version) ?? '', 'registry'];
}

function header(version: number): string {
  return `[plugins.${quoted(PLUGINS[version] ?? '')}.registry]`;
}

/** Behind the line that opens the plugin's registry table. Whether it is one, and not a line of a string, `insert` finds out. */
function afterHeader(text: string, plugin: string): number | undefined {
  const found = new RegExp(`^[ \\t]*\\[[ \\t]*plugins[ \\t]*\\.[ \\t]*["']${plugin.replaceAll('.', '\\.')}["'][ \\t]*\\.[ \\t]*"?registry"?[ \\t]*\\][^\\n]*(?:\\n|$)`, 'm').exec(text);
  return found === null ? undefined : found.index + found[0].length;
}

function configPathLine(text: string, plugin: string): { readonly offset: number; readonly text: string } | undefined {
  const start = afterHeader(text, plugin);
  if (start === undefined) return undefined;
  const found = /^(?:(?![ \t]*\[).*\n)*?([ \t]*config_path[ \t]*=[ \t]*(?:""|'')[ \t]*(?:#.*)?(?:\n|$))/.exec(text.slice(start));
  return found?.[1] === undefined ? undefined : { offset: start + found[0].length - found[1].length, text: found[1] };
}
