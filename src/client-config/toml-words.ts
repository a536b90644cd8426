/** TOML as we write it: https://toml.io/en/v1.0.0. */

/** A basic string. JSON's escapes are TOML's; DEL, which JSON leaves bare, must be escaped too. */
export function quoted(text: string): string {
  return JSON.stringify(text).replaceAll('\u007F', '\\u007f');
}

export function list(values: readonly string[]): string {
  return `[${values.map(quoted).join(', ')}]`;
}

const BEGIN = '# umbra client-config: begin';
const END = '# umbra client-config: end';

/** Lines of ours among others' lines. */
export function marked(lines: string): string {
  return `${BEGIN}\n${lines.trimEnd()}\n${END}\n`;
}

/** What a file of ours begins with. */
export const OURS = '# Written by `umbra client-config`, which also takes it away: umbra client-config revert.\n';
