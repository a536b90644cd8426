/**
 * How drivers with real files name the bytes of an assembly: `<prefix>/open.<attempt>.<base>` while an attempt
 * writes, `<prefix>/bytes.<attempt>.<base>` once it finished. `base` is the attempt whose state it began from, so
 * that a state alone tells which file carries it on, also where an attempt died before its new state was recorded.
 */
import { DriverError, type AssemblyState } from './driver.ts';
import { checkKey } from './key.ts';

export interface AssemblyFile {
  readonly kind: 'open' | 'bytes';
  readonly attempt: string;
  readonly base: string;
}

/** The base of first attempts. */
export const FRESH = '0';

const NAME = /^(open|bytes)\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{16}|0)$/;

/** Reads a file name; undefined where it is no assembly's. */
export function parseAssemblyFile(name: string): AssemblyFile | undefined {
  const [, kind, attempt, base] = NAME.exec(name) ?? [];
  if ((kind !== 'open' && kind !== 'bytes') || attempt === undefined || base === undefined) return undefined;
  return { kind, attempt, base };
}

export function assemblyKey(prefix: string, file: AssemblyFile): string {
  return `${prefix}/${file.kind}.${file.attempt}.${file.base}`;
}

export function assemblyState(prefix: string, offset: number, finished: AssemblyFile | undefined): AssemblyState {
  return { prefix, offset, parts: finished === undefined ? null : `${finished.attempt}.${finished.base}` };
}

/**
 * The finished file that a state stands for; undefined for a fresh one.
 * @throws DriverError permanent, where the state is not one of ours
 */
export function finishedFile(state: AssemblyState): AssemblyFile | undefined {
  checkKey(state.prefix);
  if (state.parts === null && state.offset === 0) return undefined;
  const file = typeof state.parts === 'string' ? parseAssemblyFile(`bytes.${state.parts}`) : undefined;
  if (file === undefined || !Number.isSafeInteger(state.offset) || state.offset < 0) {
    throw new DriverError('permanent', `invalid assembly state of ${state.prefix}: ${JSON.stringify(state).slice(0, 200)}`);
  }
  return file;
}

export function superseded(prefix: string): DriverError {
  return new DriverError('superseded', `another attempt took over the bytes of ${prefix}, or they were completed or discarded`);
}
