/** Where a command's words go: results to stdout, everything else to stderr. */

export interface Output {
  /** What the command was asked for. */
  readonly result: (text: string) => void;
  /** The same where it may be no text, or must end as it ends. */
  readonly bytes: (bytes: Uint8Array) => void;
  /** Progress, hints and failures. */
  readonly note: (text: string) => void;
  /** One line that the next one is written over, where somebody watches; '' clears it. */
  readonly status?: (text: string) => void;
}

export interface Sink {
  write(text: string | Uint8Array): unknown;
  /** Somebody watches. */
  readonly isTTY?: boolean;
  /** Of the terminal. */
  readonly columns?: number;
}

export function createOutput(stdout: Sink, stderr: Sink): Output {
  return {
    result: (text) => void stdout.write(`${text}\n`),
    bytes: (bytes) => void stdout.write(bytes),
    note: (text) => void stderr.write(`${text}\n`),
    ...(stderr.isTTY === true && { status: (text: string) => void stderr.write(`\r${text.slice(0, (stderr.columns ?? 80) - 1)}\u001B[K`) }),
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
