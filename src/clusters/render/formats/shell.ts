/** A script that makes a machine a node: by ssh, by a configuration management, or on a cluster that exists already. */
import { octal } from '../node-file.ts';
import type { NodeFile } from '../node-file.ts';
import { INSTALL_SCRIPT } from '../places.ts';
import { comment, shellWord } from '../shell-words.ts';

/** @param about lines of a comment */
export function shell(files: readonly NodeFile[], about: string): string {
  return `#!/bin/sh
${comment(about)}# As root; again where it ended early. UMBRA_ROOT: the folder that holds the node's files, such as that of an image.
set -eu
umask 022
root=\${UMBRA_ROOT-}
[ "$(id -u)" = 0 ] || [ -n "$root" ] || { echo 'umbra: this is for root' >&2; exit 1; }

# put MODE PATH CONTENT: whole or not at all, and never with more rights than it is to have.
put() {
  mkdir -p "$root\${2%/*}"
  (umask 077 && printf '%s' "$3" >"$root$2.umbra-new")
  chmod "$1" "$root$2.umbra-new"
  mv -f "$root$2.umbra-new" "$root$2"
}

${files.map(({ path, mode, content }) => `put ${octal(mode)} ${shellWord(path)} ${shellWord(content)}\n`).join('')}
exec sh "$root${INSTALL_SCRIPT}"
`;
}
