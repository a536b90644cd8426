/** One line of the log for each request, put together by hand: it is written tens of thousands of times a second. */
import { redactUrl } from './redact.ts';

/** What is told of a request. Where the client gave the text, nothing is believed of it. */
export interface Access {
  readonly method: string;
  /** As the client sent it. */
  readonly url: string;
  readonly status: number;
  /** Body bytes given and taken. */
  readonly bytesOut: number;
  readonly bytesIn: number;
  readonly ms: number;
  /** The client's address. */
  readonly client: string;
  /** The answer did not reach its end. */
  readonly cut: boolean;
  /** Where the answer came from, as in `Umbra-Source`. */
  readonly source?: string | undefined;
  readonly user?: string | undefined;
  readonly view?: string | undefined;
  /** Canonical. */
  readonly name?: string | undefined;
  /** The User-Agent header. */
  readonly agent?: string | undefined;
}

/** Longer texts of clients are cut. */
const MAX_TEXT = 2_000;
/** Needs no escaping in JSON, and does nothing to a terminal. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** @param head `{"time":…,"level":…`, open */
export function accessLine(head: string, access: Access): string {
  const { source, user, view, name, agent } = access;
  let line = `${head},"msg":"request","method":${quote(access.method)},"url":${quote(redactUrl(access.url))},"status":${access.status}`;
  line += `,"bytes":${access.bytesOut},"ms":${Math.round(access.ms * 10) / 10}`;
  if (access.bytesIn > 0) line += `,"bytesIn":${access.bytesIn}`;
  if (access.cut) line += ',"cut":true';
  if (source !== undefined) line += `,"source":${quote(source)}`;
  if (view !== undefined) line += `,"view":${quote(view)}`;
  if (name !== undefined) line += `,"name":${quote(name)}`;
  line += `,"client":${quote(access.client)}`;
  if (user !== undefined) line += `,"user":${quote(user)}`;
  if (agent !== undefined) line += `,"agent":${quote(agent)}`;
  return `${line}}\n`;
}

function quote(text: string): string {
  if (text.length > MAX_TEXT) return JSON.stringify(`${text.slice(0, MAX_TEXT)}…`);
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}
