/**
 * The one word of containerd's config.toml that matters here: where its CRI plugin looks for hosts.toml. The plugin that
 * pulls has another name in containerd 2's own format (version = 3); it reads version 2 as well.
 * https://github.com/containerd/containerd/blob/main/docs/cri/registry.md
 */
import type { Change, Merged, ServiceNeed } from '../change.ts';
import { at, insert, isTable, readToml } from '../merge/toml-text.ts';
import type { Table } from '../merge/toml-text.ts';
import { Refused } from '../request.ts';
import { marked, quoted } from '../toml-words.ts';

export const CONTAINERD_CONFIG = '/etc/containerd/config.toml';
const PLUGINS: Readonly<Record<number, string>> = { 2: 'io.containerd.grpc.v1.cri', 3: 'io.containerd.cri.v1.images' };
const NEEDS: ServiceNeed = { service: 'containerd', action: 'restart', why: 'config_path is read at start; hosts.toml is not' };

export function criHostsDir(dir: string): Change {
  const value = `config_path = ${quoted(dir)}\n`;
  const block = marked(`${header(2)}\n  ${value}`);
  // Somebody may add to the file: then `version` stays when ours goes.
  const content = `version = 2\n\n${block}`;
  return {
    path: CONTAINERD_CONFIG,
    mode: 0o644,
    how: 'toml',
    content,
    secret: false,
    needs: NEEDS,
    merge: (text) => (text === undefined ? { text: content, undo: { kind: 'text', swaps: [{ was: '', is: block }] } } : merge(text, dir, value)),
  };
}

/** The folder that the file names, or undefined. @throws Refused where the file cannot be understood */
export function hostsDirOf(text: string): string | undefined {
  const file = readToml(text, CONTAINERD_CONFIG);
  const named = pluginOf(file) === undefined ? undefined : at(file, [...keysOf(file), 'config_path']);
  // Several may be named, as in PATH.
  return typeof named === 'string' && named !== '' ? named.split(':')[0] : undefined;
}

function merge(text: string, dir: string, value: string): Merged {
  const file = readToml(text, CONTAINERD_CONFIG);
  const unchanged: Merged = { text, undo: { kind: 'text', swaps: [] } };
  const disabled = file['disabled_plugins'];
  if (Array.isArray(disabled) && disabled.some((name) => name === 'cri' || Object.values(PLUGINS).includes(String(name)))) return unchanged;
  const plugin = pluginOf(file);
  if (plugin === undefined) {
    throw new Refused(`${CONTAINERD_CONFIG}: version is ${JSON.stringify(file['version'] ?? 'not set')}, expected 2 or 3: bring it up to date (containerd config migrate), then apply again`);
  }
  const path = keysOf(file);
  if (hostsDirOf(text) !== undefined) return unchanged;
  // The plugin does not start where both are set.
  for (const old of ['mirrors', 'configs']) {
    const there = at(file, [...path, old]);
    if (isTable(there) && Object.keys(there).length > 0) throw new Refused(`${CONTAINERD_CONFIG}: plugins."${plugin}".registry.${old} is set, which rules out config_path: move it to hosts.toml files and take it out`);
  }
  const says = ['plugins', plugin, 'registry'].reduceRight<Table>((inner, key) => ({ [key]: inner }), { config_path: dir });
  const registry = at(file, path);
  if (registry === undefined) return insert(text, { offset: text.length, is: marked(`${header(Number(file['version']))}\n  ${value}`), says }, CONTAINERD_CONFIG);
  // Its own default, "", stands in what `containerd config default` prints.
  const line = isTable(registry) && registry['config_path'] === '' ? configPathLine(text, plugin) : undefined;
  if (line !== undefined) return insert(text, { offset: line.offset, was: line.text, is: marked(line.text.replace(/=.*/, `= ${quoted(dir)}`)), says }, CONTAINERD_CONFIG);
  const offset = isTable(registry) && registry['config_path'] === undefined ? afterHeader(text, plugin) : undefined;
  if (offset !== undefined) return insert(text, { offset, is: marked(`  ${value}`), says }, CONTAINERD_CONFIG);
  throw new Refused(`${CONTAINERD_CONFIG}: plugins."${plugin}".registry is written in a way that cannot be added to: set ${value.trim()} there by hand`);
}

function pluginOf(file: Table): string | undefined {
  return PLUGINS[Number(file['version'])];
}

function keysOf(file: Table): readonly string[] {
  return ['plugins', pluginOf(file) ?? '', 'registry'];
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
