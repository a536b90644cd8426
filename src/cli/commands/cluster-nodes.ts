/** `umbra cluster nodes`: the nodes of a cluster as its service knows them, by role and name. */
import { nodesOfCluster, type NodeOfCluster } from '../../clusters/client/nodes.ts';
import { formatColumns, formatJson } from '../output.ts';
import { EXIT } from '../world.ts';
import type { World } from '../world.ts';

export interface NodesOptions {
  readonly osCloud?: string;
  readonly url?: string;
  readonly json?: boolean;
}

const HEADINGS = ['NAME', 'ROLE', 'ARCH', 'VERSION', 'CREDENTIAL', 'SEEN', 'DISK', 'LAST ERROR'];
const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

export async function listNodes(cluster: string, { osCloud: cloud, url, json = false }: NodesOptions, { output, cwd, env }: World): Promise<number> {
  if (url !== undefined && !/^https?:\/\/[^/]/i.test(url)) {
    output.note(`error: --url ${url}: expected a URL such as https://clusters.example.org\n(--help says more)`);
    return EXIT.usage;
  }
  const { nodes: told, nowMs } = await nodesOfCluster(cluster, { cloud, url, cwd, env });
  const nodes = told.toSorted((a, b) => a.role.localeCompare(b.role) || a.name.localeCompare(b.name, 'en', { numeric: true }));
  if (json) output.result(formatJson(nodes));
  else if (nodes.length === 0) output.note(`umbra: no node of ${cluster} has come for its credential yet`);
  else output.result(formatColumns([HEADINGS, ...nodes.map((node) => cells(node, nowMs))]));
  return EXIT.ok;
}

function cells({ name, role, arch, version, credential, seen_at: seenAt, disk, last_error: lastError }: NodeOfCluster, nowMs: number | undefined): readonly string[] {
  const size = disk === null ? '-' : `${inUnit(disk.used_bytes, disk.max_bytes)} of ${inUnit(disk.max_bytes, disk.max_bytes)} ${disk.max_bytes < GIB ? 'MiB' : 'GiB'}`;
  // What machines said of themselves, on a terminal: nothing of it moves the cursor.
  return [name, role, arch, version, credential, seenAt === null ? '-' : ago(seenAt, nowMs), size, lastError ?? '-'].map((cell) => cell.replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, ' '));
}

function inUnit(bytes: number, maxBytes: number): string {
  return (bytes / (maxBytes < GIB ? MIB : GIB)).toFixed(1);
}

const STEPS = [[60, 's'], [60, 'min'], [48, 'h']] as const;

function ago(at: string, nowMs: number | undefined): string {
  const ms = nowMs === undefined ? Number.NaN : nowMs - Date.parse(at);
  if (Number.isNaN(ms)) return at;
  let value = Math.max(0, Math.round(ms / 1000));
  for (const [many, unit] of STEPS) {
    if (value < many) return `${value} ${unit} ago`;
    value = Math.floor(value / (unit === 'h' ? 24 : 60));
  }
  return `${value} days ago`;
}
