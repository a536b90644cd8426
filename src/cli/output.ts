/** Where a command's words go: results to stdout, everything else to stderr. */

export interface Output {
  /** What the command was asked for. */
  readonly result: (text: string) => void;
  /** Progress, hints and failures. */
  readonly note: (text: string) => void;
}

export interface Sink {
  write(text: string): unknown;
}

export function createOutput(stdout: Sink, stderr: Sink): Output {
  return {
    result: (text) => void stdout.write(`${text}\n`),
    note: (text) => void stderr.write(`${text}\n`),
  };
}

/** For programs. */
export function formatJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2);
}

/** For people: cells under each other, the last one as long as it is. */
export function formatColumns(rows: readonly (readonly string[])[]): string {
  const widths = rows.reduce<number[]>((most, row) => row.map((cell, i) => Math.max(most[i] ?? 0, cell.length)), []);
  return rows.map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join('  ')).join('\n');
}
