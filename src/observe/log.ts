/**
 * The log: events with fields, as lines of JSON or, on a terminal, as lines for people. Each event is told once, at the
 * edge that knows its outcome.
 */
import { accessLine, type Access } from './access-line.ts';
import { prettyAccess, prettyEvent } from './pretty.ts';
import { isSecretField, redactText } from './redact.ts';

export type Level = 'debug' | 'info' | 'warn' | 'error';

export interface Log {
  debug(fields: object, event: string): void;
  info(fields: object, event: string): void;
  warn(fields: object, event: string): void;
  error(fields: object, event: string): void;
  /** One for each request. */
  request(access: Access): void;
}

export interface LogOptions {
  readonly level: Level | 'silent';
  readonly format: 'json' | 'pretty';
  /** Takes whole lines, newline included. */
  readonly write: (line: string) => void;
  readonly nowMs: () => number;
}

const RANK = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 } as const;

/** @param text of `UMBRA_LOG`. @throws Error where it is no level */
export function parseLevel(text: string | undefined): LogOptions['level'] {
  const level = (text ?? 'info').toLowerCase();
  if (Object.hasOwn(RANK, level)) return level as keyof typeof RANK; // its keys are the levels
  throw new Error(`UMBRA_LOG is ${JSON.stringify(text)}: expected debug, info, warn, error or silent`);
}

export function createLog({ level, format, write, nowMs }: LogOptions): Log {
  const timestamp = timestamps();
  const at = (own: Level): Log['info'] => {
    if (RANK[own] < RANK[level]) return () => undefined;
    return (fields, event) => {
      const time = timestamp(nowMs());
      const shown = showable(fields);
      write(format === 'pretty' ? prettyEvent(time, own, event, shown) : `${JSON.stringify({ time, level: own, msg: event, ...shown })}\n`);
    };
  };
  const request: Log['request'] =
    RANK.info < RANK[level]
      ? () => undefined
      : format === 'pretty'
        ? (access) => write(prettyAccess(timestamp(nowMs()), access))
        : (access) => write(accessLine(`{"time":"${timestamp(nowMs())}","level":"info"`, access));
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), request };
}

/** ISO 8601, the part down to the second made once for each. */
function timestamps(): (ms: number) => string {
  let second = -1;
  let prefix = '';
  return (ms) => {
    const whole = Math.floor(ms / 1000);
    if (whole !== second) {
      second = whole;
      prefix = new Date(whole * 1000).toISOString().slice(0, 20);
    }
    return `${prefix}${String(Math.floor(ms) - whole * 1000).padStart(3, '0')}Z`;
  };
}

const MAX_DEPTH = 6;

/** The fields as JSON can carry them, without secrets: errors with their causes, no cycles, nothing endless. */
export function showable(fields: object): Record<string, unknown> {
  return showObject(fields, 0);
}

function showObject(object: object, depth: number): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(object)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, isSecretField(name) && value !== null ? '***' : show(value, depth + 1)]),
  );
}

function show(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint' || typeof value === 'symbol' || typeof value === 'function') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > MAX_DEPTH) return '…';
  if (value instanceof Error) return showError(value, depth);
  if (Buffer.isBuffer(value)) return `${value.length} bytes`;
  if ('toJSON' in value && typeof value.toJSON === 'function') return value.toJSON(); // a Secret says ***, a Date its time
  if (Array.isArray(value)) return value.map((item) => show(item, depth + 1));
  if (value instanceof Map || value instanceof Set) return [...value].map((item: unknown) => show(item, depth + 1));
  return showObject(value, depth);
}

function showError(error: Error, depth: number): Record<string, unknown> {
  const { name, message, stack, cause } = error;
  const shown: Record<string, unknown> = { name, message: redactText(message) };
  if ('code' in error) shown['code'] = show(error.code, depth + 1);
  if (stack !== undefined) shown['stack'] = redactText(stack);
  if (cause !== undefined) shown['cause'] = show(cause, depth + 1);
  return shown;
}
