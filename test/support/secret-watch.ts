/**
 * A watch over everything that Umbra says while the tests of one file run: what its programs print, what it answers where
 * something is wrong, what it tells of itself. At the end no secret of any configuration, environment or login stands in it.
 */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parse } from 'yaml';
import { formsOf, secretsOf, secretsOfFile, tokensIn, type Environment } from './secrets.ts';

interface Watch {
  readonly secrets: Set<string>;
  /** What said it, by what it said: answers repeat themselves. */
  readonly texts: Map<string, string>;
  /** What is read at the end. */
  readonly outputs: { readonly what: string; readonly output: () => string }[];
}

/** Undefined where nobody looks at the end. */
let watch: Watch | undefined;

/** From here on everything is kept until `secretsTold`. */
export function beginWatch(): void {
  watch = { secrets: new Set(), texts: new Map(), outputs: [] };
}

export function isWatched(): boolean {
  return watch !== undefined;
}

/** The secrets of a configuration, and of what it takes from the environment or from files below `folder`. */
export function knowSecrets(config: unknown, options: { readonly env?: Environment; readonly folder?: string } = {}): void {
  for (const secret of watch === undefined ? [] : secretsOf(config, options)) watch?.secrets.add(secret);
}

/** The secrets of a configuration file, in the same way; none where there is no such file. */
export function knowSecretsOfFile(path: string, env: Environment = {}): void {
  if (watch === undefined) return;
  try {
    knowSecrets(parse(readFileSync(path, 'utf8')), { env, folder: dirname(path) });
  } catch {
    // It is not there, or not to be understood: then nobody knows of its secrets.
  }
}

/** Keys that are made while a program runs: JSON, PEM, or a secret alone. */
export function knowKeys(path: string): void {
  for (const secret of watch === undefined ? [] : secretsOfFile(path, true)) watch?.secrets.add(secret);
}

/** @param text what was said, or how it is had when everything has ended */
export function watchSaid(what: string, text: string | (() => string)): void {
  if (typeof text === 'function') watch?.outputs.push({ what, output: text });
  else if (!watch?.texts.has(text)) watch?.texts.set(text, what);
}

/** Where a command has one of Umbra's programs: what it prints, and the secrets of its configuration and environment. */
export function watchCommand(command: readonly string[], env: Environment, output: string | (() => string)): void {
  const program = watch === undefined ? undefined : command.find(isOurs);
  if (program === undefined) return;
  knowSecrets(env);
  for (const [index, word] of command.entries()) if (/^(?:-c|--config|--from)$/.test(word)) knowSecretsOfFile(command[index + 1] ?? '', env);
  for (const name of ['OS_CLIENT_CONFIG_FILE', 'OS_CLIENT_SECURE_FILE']) knowSecretsOfFile(env[name] ?? '');
  watchSaid(command.slice(command.indexOf(program)).join(' ').slice(0, 200), output);
}

function isOurs(word: string): boolean {
  return /(?:^|\/)bin\/(?:umbra|zuul-registry)$/.test(word) || word === process.env['UMBRA_PROGRAM'];
}

/** What was found since the watch began, a line each, as often as there are places; and begins anew. */
export function secretsTold(): string[] {
  if (watch === undefined) throw new Error('nothing was watched');
  const { secrets, texts, outputs } = watch;
  beginWatch();
  const forms = new Map(Array.from(secrets, (secret) => [secret, formsOf(secret)]));
  const said = [...outputs.map(({ what, output }) => [output(), what] as const), ...texts];
  return said.flatMap(([text, what]) => {
    const found = [...forms.values()].flatMap((each) => each.filter((form) => text.includes(form)).slice(0, 1));
    return [...found, ...tokensIn(text)].map((form) => `${form} in what ${what} said: ${around(text, form)}`);
  });
}

/** @throws Error with what was found */
export function endWatch(): void {
  const told = secretsTold();
  if (told.length > 0) throw new Error(`secrets were told:\n${told.join('\n')}`);
}

function around(text: string, form: string): string {
  const at = text.indexOf(form);
  return `…${text.slice(Math.max(0, at - 150), at + form.length + 50)}…`;
}
