/**
 * The two little grammars of the configuration file: durations (`250ms`, `60s`, `5m`, `1h`, `1d`, or seconds as a
 * number) and sizes (`512k`, `4MiB`, `1GiB`, or bytes as a number; every unit counts by 1024).
 */

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/;
const SIZE = /^(\d+(?:\.\d+)?)(?:([kmgt])(?:ib)?)?$/i;

/** The grammars as JSON Schema patterns (which know no flags), for editors. */
export const DURATION_PATTERN: string = DURATION.source;
export const SIZE_PATTERN = '^(\\d+(?:\\.\\d+)?)(?:[kKmMgGtT](?:[iI][bB])?)?$';

/** Largest first, so that printing finds the largest that divides. */
const DURATION_UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;

const SIZE_UNITS = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
] as const;

/** Milliseconds, rounded; undefined where the input is no duration. A bare number is seconds. */
export function parseDuration(input: string | number): number | undefined {
  const match = DURATION.exec(String(input));
  if (match === null) return undefined;
  const unit = DURATION_UNITS.find(([name]) => name === (match[2] ?? 's'));
  return unit === undefined ? undefined : safe(Number(match[1]) * unit[1]);
}

/** Bytes, rounded; undefined where the input is no size. A bare number is bytes. */
export function parseSize(input: string | number): number | undefined {
  const match = SIZE.exec(String(input));
  if (match === null) return undefined;
  const letter = match[2]?.toUpperCase();
  const unit = SIZE_UNITS.find(([name]) => name[0] === letter);
  return safe(Number(match[1]) * (unit?.[1] ?? 1));
}

/** The shortest spelling that parses to the same milliseconds. */
export function formatDuration(ms: number): string {
  const [name, factor] = DURATION_UNITS.find(([, size]) => ms !== 0 && ms % size === 0) ?? ['s', 1000];
  return `${ms / factor}${name}`;
}

/** A spelling in the largest unit that divides, which parses to the same bytes. */
export function formatSize(bytes: number): string {
  const unit = SIZE_UNITS.find(([, size]) => bytes !== 0 && bytes % size === 0);
  return unit === undefined ? String(bytes) : `${bytes / unit[1]}${unit[0]}`;
}

/** Beyond 2^53 a sum could silently be off by one. */
function safe(value: number): number | undefined {
  const rounded = Math.round(value);
  return Number.isSafeInteger(rounded) ? rounded : undefined;
}
