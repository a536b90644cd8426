/** Which texts are secrets, and the forms in which one may stand in another text. The watch over what is printed: `secret-watch.ts`. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse } from 'yaml';

/** What of these logins, in any form in which they travel, or of any token stands in the text. */
export function secretsIn(text: string, logins: Readonly<Record<string, string>>): string[] {
  return [...Object.values(logins).filter((password) => formsOf(password).some((form) => text.includes(form))), ...tokensIn(text)];
}

/** A token is a JWT, whose first part is a JSON object. */
export function tokensIn(text: string): string[] {
  return text.match(/\beyJ[\w-]{8,}/g) ?? [];
}

/** Shorter ones stand in other words by chance. In UTF-8. */
const LEAST_BYTES = 6;

/** As it is, escaped in JSON, in a URL, in a form, and as a part of what is Base64, whatever stands before and after it. */
export function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const inUrl = encodeURIComponent(secret);
  const inForm = new URLSearchParams([['', secret]]).toString().slice(1);
  // All but letters and digits, as some programs do.
  const inFull = Array.from(bytes, (byte) => (/[A-Za-z0-9]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0').toUpperCase()}`)).join('');
  const inBase64 = [0, 1, 2].flatMap((before) => {
    // The characters that only its own bits decide.
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64').slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6));
    return [text, text.replaceAll('+', '-').replaceAll('/', '_')];
  });
  const escaped = [inUrl, inForm, inFull].flatMap((text) => [text, text.replace(/%[0-9A-F]{2}/g, (hex) => hex.toLowerCase())]);
  return [...new Set([secret, JSON.stringify(secret).slice(1, -1), ...escaped, ...inBase64])];
}

export type Environment = Readonly<Record<string, string | undefined>>;

export interface SecretsOptions {
  /** What placeholders in the configuration stand for. */
  readonly env?: Environment;
  /** What paths in it are relative to. */
  readonly folder?: string;
}

/** Keys of umbra.yaml, of a zuul-registry's file, of clouds.yaml, of docker-registry's, and names of environment variables. */
const SECRET = /(?:^|_)pass$|password(?:hash)?$|secret(?:[-_]?key)?$|secretaccesskey$|(?:tempurl|encryption)key$|trust_?id$|_token$/i;
/** Keys whose values are paths of files with secrets in them. */
const NAMES_FILE = /file$|^(?:tls-)?key$/i;
const URL_LOGIN = /^[a-z][\w+.-]*:\/\/[^/?#\s]*?:([^/?#\s]*)@/i;

/** The secrets of any configuration, parsed: those that stand in it, in the environment, and in the files that it names. */
export function secretsOf(config: unknown, options: SecretsOptions = {}, key = ''): string[] {
  if (typeof config === 'string') return secretsOfText(config, key, options).filter((secret) => Buffer.byteLength(secret) >= LEAST_BYTES);
  if (typeof config !== 'object' || config === null) return [];
  // What stands in a list is what the key of the list says.
  return Object.entries(config).flatMap(([name, value]) => secretsOf(value, options, Array.isArray(config) ? key : name));
}

function secretsOfText(text: string, key: string, { env = {}, folder = '.' }: SecretsOptions): string[] {
  const value = filledIn(text, env);
  const inUrl = URL_LOGIN.exec(value)?.[1];
  if (NAMES_FILE.test(key)) return secretsOfFile(resolve(folder, value), SECRET.test(key.replace(/file$/i, '')));
  if (SECRET.test(key)) return [value];
  return inUrl === undefined ? [] : [inUrl, unescaped(inUrl)];
}

/** `%(NAME)` of a zuul-registry, `${NAME}` of Umbra. */
function filledIn(text: string, env: Environment): string {
  const upper = new Map(Object.entries(env).map(([name, value]) => [name.toUpperCase(), value]));
  return text.replace(/%\((\w+)\)|\$\{(\w+)(?::?-([^}]*))?\}/g, (whole, percent?: string, dollar?: string, fallback?: string) => upper.get((percent ?? dollar ?? '').toUpperCase()) ?? fallback ?? whole);
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Of a private key, of the keys that sign tokens, of a password alone. None where there is no such file. */
export function secretsOfFile(path: string, whole: boolean): string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return [];
  }
  // One line of it is enough: a part that is printed has one, or is of no use.
  const pem = Array.from(text.matchAll(/PRIVATE KEY-----\s+(?:\S{64}\s+)?(\S{40,})\s/g), ([, line = '']) => line);
  if (pem.length > 0) return pem;
  const structured = parsed(text);
  if (typeof structured === 'object') return [...secretsOf(structured), ...signingKeysOf(structured)];
  return whole && text.trim().length >= LEAST_BYTES ? [text.trim()] : [];
}

/** `src/auth/key.ts` writes JSON Web Keys. */
function signingKeysOf(file: object | null): string[] {
  const { keys } = (file ?? {}) as { readonly keys?: unknown };
  return Array.isArray(keys) ? keys.flatMap((key: unknown) => (typeof (key as { k?: unknown } | null)?.k === 'string' ? [(key as { k: string }).k] : [])) : [];
}

function parsed(text: string): unknown {
  try {
    return parse(text) as unknown;
  } catch {
    return text;
  }
}
