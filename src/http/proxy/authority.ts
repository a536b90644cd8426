/** What a client names to a proxy: `host:port` of CONNECT (RFC 9110 section 9.3.6), or the beginning of a request target in absolute form (RFC 9112 section 3.2.2). */

export interface Authority {
  /** Lower case; an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
}

const AUTHORITY = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::(\d{1,5}))?$/i;
const ABSOLUTE = /^(https?):\/\/([^/?#]*)/i;
export const DEFAULT_PORTS = { http: 80, https: 443 } as const;
export type Scheme = keyof typeof DEFAULT_PORTS;

/** Undefined where it is none. @param defaultPort where the text names none; undefined: it has to */
export function parseAuthority(text: string, defaultPort?: number): Authority | undefined {
  const [, literal, name, digits] = AUTHORITY.exec(text) ?? [];
  const host = (literal ?? name)?.toLowerCase();
  const port = digits === undefined ? defaultPort : Number(digits);
  return host === undefined || host.length > 255 || port === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

/** Of a target in absolute form; undefined where it is in another. */
export function absoluteTarget(target: string): { readonly scheme: Scheme; readonly authority: Authority | undefined } | undefined {
  const [, word, text = ''] = ABSOLUTE.exec(target) ?? [];
  if (word === undefined) return undefined;
  const scheme = word.toLowerCase() as Scheme; // as matched
  return { scheme, authority: parseAuthority(text, DEFAULT_PORTS[scheme]) };
}

/** As a URL of this scheme has it, and a Host header. */
export function spellAuthority({ host, port }: Authority, scheme?: Scheme): string {
  const bracketed = host.includes(':') ? `[${host}]` : host;
  return scheme !== undefined && port === DEFAULT_PORTS[scheme] ? bracketed : `${bracketed}:${port}`;
}
