/** Words and comments of a POSIX shell. */

/** Whatever it holds, but for NUL, which no word can hold. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** @returns lines, each ended */
export function comment(text: string): string {
  return text.split(/[\r\n]+/).map((line) => `# ${line}\n`).join('');
}
