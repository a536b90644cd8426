/** Results: medians, ratios, whether goals are met, as a table for people and as JSON. */
import { arch, cpus, loadavg, release, totalmem } from 'node:os';
import type { Contender, Goal, Row, Sample } from './row.ts';

export interface Figure {
  readonly median: number;
  readonly samples: readonly number[];
  /** Of the upstream, the most of any round. */
  readonly downloads?: number;
}

export interface Result {
  readonly section: string;
  readonly name: string;
  readonly unit: string;
  readonly limit?: string;
  readonly figures: Readonly<Partial<Record<Contender, Figure>>>;
  /** In words, e.g. `≥ 0.60 of nginx`. */
  readonly goal?: string;
  /** Undefined where there is no goal, or Umbra or what it is held against took no part. */
  readonly met?: boolean;
  /** Umbra's figure over the other's. */
  readonly ratios: Readonly<Partial<Record<Contender, number>>>;
  /** Why there are no figures. */
  readonly error?: string;
}

export function failure<State>(section: string, row: Row<State>, error: unknown): Result {
  return {
    section,
    name: row.name,
    unit: row.unit,
    figures: {},
    ratios: {},
    error: error instanceof Error ? error.message : String(error),
  };
}

export function result<State>(section: string, row: Row<State>, samples: ReadonlyMap<Contender, readonly Sample[]>): Result {
  const figures: Partial<Record<Contender, Figure>> = {};
  for (const [contender, all] of samples) {
    const downloads = all.map((s) => s.downloads).filter((d) => d !== undefined);
    figures[contender] = {
      median: median(all.map((s) => s.value)),
      samples: all.map((s) => s.value),
      ...(downloads.length > 0 ? { downloads: Math.max(...downloads) } : {}),
    };
  }
  const ratios: Partial<Record<Contender, number>> = {};
  for (const other of ['docker-registry', 'limit'] as const) {
    const [umbra, against] = [figures.umbra, figures[other]];
    if (umbra !== undefined && against !== undefined) ratios[other] = umbra.median / against.median;
  }
  const met = row.goal === undefined ? undefined : isMet(row.goal, figures, ratios);
  return {
    section,
    name: row.name,
    unit: row.unit,
    ...(row.limit === undefined ? {} : { limit: row.limit }),
    figures,
    ratios,
    ...(row.goal === undefined ? {} : { goal: inWords(row.goal, row) }),
    ...(met === undefined ? {} : { met }),
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function isMet(goal: Goal, figures: Result['figures'], ratios: Result['ratios']): boolean | undefined {
  const { umbra } = figures;
  if (umbra === undefined) return undefined;
  if (umbra.downloads !== undefined && umbra.downloads > 1) return false;
  if (goal.kind === 'bound') return umbra.median <= goal.value;
  if (goal.kind === 'floor') return umbra.median >= goal.value;
  const ratio = ratios[goal.of];
  if (ratio === undefined) return undefined;
  return goal.kind === 'at-least' ? ratio >= goal.times : ratio <= goal.times;
}

function inWords<State>(goal: Goal, row: Row<State>): string {
  if (goal.kind === 'bound') return `≤ ${goal.value} ${row.unit}`;
  if (goal.kind === 'floor') return `≥ ${goal.value} ${row.unit}`;
  const of = goal.of === 'limit' ? (row.limit ?? 'limit') : goal.of;
  return `${goal.kind === 'at-least' ? '≥' : '≤'} ${goal.times} × ${of}`;
}

export function table(results: readonly Result[]): string {
  const header = ['', 'unit', 'Umbra', 'docker-registry', 'limit', '× d-r', '× limit', 'goal', ''];
  const lines: string[][] = [header];
  let section = '';
  for (const r of results) {
    if (r.section !== section) lines.push([`-- ${(section = r.section)}`]);
    lines.push([
      r.name,
      r.unit,
      figure(r.figures.umbra),
      figure(r.figures['docker-registry']),
      r.figures.limit === undefined ? '' : `${figure(r.figures.limit)} ${r.limit ?? ''}`,
      ratio(r.ratios['docker-registry']),
      ratio(r.ratios.limit),
      r.goal ?? '',
      r.error !== undefined ? 'FAILED' : r.met === undefined ? '' : r.met ? 'met' : 'MISSED',
    ]);
  }
  const widths = header.map((_, column) => Math.max(...lines.filter((l) => l.length > 1).map((l) => l[column]?.length ?? 0)));
  const text = lines.map((line) =>
    line
      .map((cell, i) => (i === 0 || i >= 7 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  return [...text, ...results.filter((r) => r.error !== undefined).map((r) => `FAILED ${r.name}: ${r.error}`)].join('\n');
}

/** What the figures were taken on: they mean nothing elsewhere. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  /** Of the last minute when the benchmark began: what else the machine had to do. */
  readonly loadBefore: number;
}

export function machine(): Machine {
  const all = cpus();
  return {
    cpu: `${all[0]?.model ?? 'unknown'} (${arch()})`,
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    loadBefore: loadavg()[0] ?? 0,
  };
}

/** Whether others used so much of the machine that the figures say little. */
export function isBusy(on: Machine): boolean {
  return on.loadBefore > on.cores / 4;
}

function figure(of: Figure | undefined): string {
  if (of === undefined) return '';
  const value = of.median >= 100 ? of.median.toFixed(0) : of.median >= 10 ? of.median.toFixed(1) : of.median.toFixed(2);
  return of.downloads === undefined ? value : `${value} (${of.downloads} dl)`;
}

function ratio(value: number | undefined): string {
  return value === undefined ? '' : value.toFixed(2);
}
