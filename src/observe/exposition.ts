/**
 * Counters, gauges and histograms, their sum over several processes, and the text that Prometheus reads (exposition
 * format 0.0.4). Why our own: docs/decisions/0002-metrics.md.
 */

/** One time series: add to `value`, or set it. Kept by whoever counts, so that counting is an addition. */
export interface Sample {
  value: number;
}

export interface Series {
  observe(value: number): void;
}

/** How the series of several processes become one. */
export type Merge = 'sum' | 'max' | 'min';

/** The state of one metric, as it goes to another process: label text to values (a histogram's: buckets, then the sum). */
export interface MetricSnapshot {
  readonly name: string;
  readonly values: readonly (readonly [labels: string, values: readonly number[]])[];
}

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly merge: Merge;
  /** Upper bounds; a histogram's only. */
  readonly bounds: readonly number[];
  readonly values: () => Iterable<readonly [labels: string, values: readonly number[]]>;
}

export class Family<L extends string> {
  readonly #labels: readonly L[];
  readonly #samples = new Map<string, Sample>();

  constructor(labels: readonly L[]) {
    this.#labels = labels;
  }

  /** The series with these labels, begun at 0. Keep it: finding it costs more than counting. */
  with(labels: Readonly<Record<L, string>>): Sample {
    const key = labelText(this.#labels, labels);
    let sample = this.#samples.get(key);
    if (sample === undefined) this.#samples.set(key, (sample = { value: 0 }));
    return sample;
  }

  /** Forgets all series: for gauges that are set anew each time they are looked at. */
  clear(): void {
    this.#samples.clear();
  }

  *values(): Iterable<readonly [string, readonly number[]]> {
    for (const [labels, { value }] of this.#samples) yield [labels, [value]];
  }
}

export class Histogram<L extends string> {
  readonly #labels: readonly L[];
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, { readonly counts: number[]; sum: number; readonly observe: (value: number) => void }>();

  constructor(labels: readonly L[], bounds: readonly number[]) {
    this.#labels = labels;
    this.#bounds = bounds;
  }

  with(labels: Readonly<Record<L, string>>): Series {
    const key = labelText(this.#labels, labels);
    let series = this.#series.get(key);
    if (series === undefined) {
      const bounds = this.#bounds;
      const counts = Array.from({ length: bounds.length + 1 }, () => 0);
      const begun = {
        counts,
        sum: 0,
        observe(value: number): void {
          let bucket = 0;
          while (bucket < bounds.length && value > (bounds[bucket] ?? Infinity)) bucket++;
          counts[bucket] = (counts[bucket] ?? 0) + 1;
          begun.sum += value;
        },
      };
      this.#series.set(key, (series = begun));
    }
    return series;
  }

  *values(): Iterable<readonly [string, readonly number[]]> {
    for (const [labels, { counts, sum }] of this.#series) yield [labels, [...counts, sum]];
  }
}

export class Exposition {
  readonly #metrics: Metric[] = [];
  readonly #collect: (() => void)[] = [];

  counter<const L extends string = never>(name: string, help: string, labels: readonly L[] = []): Family<L> {
    return this.#family('counter', name, help, labels, 'sum');
  }

  gauge<const L extends string = never>(name: string, help: string, labels: readonly L[] = [], merge: Merge = 'sum'): Family<L> {
    return this.#family('gauge', name, help, labels, merge);
  }

  histogram<const L extends string = never>(name: string, help: string, labels: readonly L[], bounds: readonly number[]): Histogram<L> {
    const histogram = new Histogram(labels, bounds);
    this.#metrics.push({ name, help, type: 'histogram', merge: 'sum', bounds, values: () => histogram.values() });
    return histogram;
  }

  /** Called before the values are read, to set gauges that are looked at only then. */
  onCollect(collect: () => void): void {
    this.#collect.push(collect);
  }

  /** This process's values. JSON-able. */
  snapshot(): readonly MetricSnapshot[] {
    for (const collect of this.#collect) collect();
    return this.#metrics.map(({ name, values }) => ({ name, values: [...values()] }));
  }

  /** The metrics of this process and of others together. What others have and this one does not know is left out. */
  render(others: readonly (readonly MetricSnapshot[])[] = []): string {
    const snapshots = [this.snapshot(), ...others];
    return this.#metrics.map((metric) => renderMetric(metric, mergeValues(metric, snapshots))).join('');
  }

  #family<const L extends string>(type: 'counter' | 'gauge', name: string, help: string, labels: readonly L[], merge: Merge): Family<L> {
    const family = new Family(labels);
    this.#metrics.push({ name, help, type, merge, bounds: [], values: () => family.values() });
    return family;
  }
}

const MERGE: Readonly<Record<Merge, (a: number, b: number) => number>> = { sum: (a, b) => a + b, max: Math.max, min: Math.min };

function mergeValues({ name, merge }: Metric, snapshots: readonly (readonly MetricSnapshot[])[]): Map<string, readonly number[]> {
  const merged = new Map<string, readonly number[]>();
  for (const snapshot of snapshots) {
    for (const [labels, values] of snapshot.find((metric) => metric.name === name)?.values ?? []) {
      const before = merged.get(labels);
      merged.set(labels, before === undefined ? values : values.map((value, index) => MERGE[merge](before[index] ?? 0, value)));
    }
  }
  return merged;
}

function renderMetric({ name, help, type, bounds }: Metric, values: ReadonlyMap<string, readonly number[]>): string {
  let text = `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n`;
  for (const [labels, numbers] of values) {
    if (type !== 'histogram') text += `${name}${braced(labels)} ${numberText(numbers[0] ?? 0)}\n`;
    else text += renderHistogram(name, labels, bounds, numbers);
  }
  return text;
}

function renderHistogram(name: string, labels: string, bounds: readonly number[], numbers: readonly number[]): string {
  const own = labels === '' ? '' : `${labels},`;
  let text = '';
  let count = 0;
  for (const [index, bound] of [...bounds, Infinity].entries()) {
    count += numbers[index] ?? 0;
    text += `${name}_bucket{${own}le="${numberText(bound)}"} ${count}\n`;
  }
  return `${text}${name}_sum${braced(labels)} ${numberText(numbers[bounds.length + 1] ?? 0)}\n${name}_count${braced(labels)} ${count}\n`;
}

function braced(labels: string): string {
  return labels === '' ? '' : `{${labels}}`;
}

function labelText<L extends string>(names: readonly L[], labels: Readonly<Record<L, string>>): string {
  return names.map((name) => `${name}="${labels[name].replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`).join(',');
}

function numberText(value: number): string {
  return value === Infinity ? '+Inf' : value === -Infinity ? '-Inf' : String(value);
}
