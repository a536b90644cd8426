/** Lines of the log for people at a terminal. Control characters of clients do not reach it. */
import type { Access } from './access-line.ts';
import { redactUrl } from './redact.ts';

const COLOURS = { debug: 90, info: 32, warn: 33, error: 31 } as const;

export function prettyEvent(time: string, level: keyof typeof COLOURS, event: string, fields: Record<string, unknown>): string {
  const { error, ...others } = fields;
  const told = Object.entries(others).map(
    ([name, value]) => `${dim(`${name}=`)}${typeof value === 'string' ? printable(value) : JSON.stringify(value)}`,
  );
  const line = [dim(clock(time)), paint(COLOURS[level], level.padEnd(5)), printable(event), ...told].join(' ');
  return `${line}\n${error === undefined ? '' : `${indent(errorText(error))}\n`}`;
}

export function prettyAccess(time: string, access: Access): string {
  const { method, url, status, ms, bytesOut, bytesIn, source, user, client, cut } = access;
  const outcome = paint(status >= 500 ? COLOURS.error : status >= 400 ? COLOURS.warn : COLOURS.info, String(status));
  const told = [
    printable(method).padEnd(5),
    printable(redactUrl(url)),
    outcome,
    size(Math.max(bytesOut, bytesIn)),
    `${Math.round(ms)}ms`,
    ...(source === undefined ? [] : [printable(source)]),
    ...(cut ? ['cut off'] : []),
    dim(`${printable(user ?? '-')} ${printable(client)}`),
  ];
  return `${dim(clock(time))} ${told.join(' ')}\n`;
}

/** Of a time in ISO 8601. */
function clock(time: string): string {
  return time.slice(11, 23);
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes}B`;
  const exponent = Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** exponent).toFixed(1)}${['', 'KiB', 'MiB', 'GiB', 'TiB'][exponent]}`;
}

/** Of an error as the log shows errors. */
function errorText(error: unknown): string {
  if (typeof error !== 'object' || error === null) return printable(String(error));
  // As `showable` makes them.
  const { stack, message, cause } = error as { readonly stack?: string; readonly message?: string; readonly cause?: unknown };
  const own = printable(stack ?? message ?? JSON.stringify(error), true);
  return cause === undefined ? own : `${own}\ncaused by ${errorText(cause)}`;
}

function indent(text: string): string {
  return text.replace(/^/gm, '    ');
}

function printable(text: string, lines = false): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  return text.replace(lines ? /[\x00-\x09\x0b-\x1f\x7f-\x9f]/g : /[\x00-\x1f\x7f-\x9f]/g, '�');
}

function dim(text: string): string {
  return paint(90, text);
}

function paint(colour: number, text: string): string {
  return `\u001b[${colour}m${text}\u001b[39m`;
}
