/** Takes a node's registry away, as if it had never been: what clients were told first, so that nobody asks a registry that is gone. */
import type { NodeModel } from './node-model.ts';
import type { NodeFile } from './node-file.ts';
import { FORGET } from './install-script.ts';
import { CACHE_FOLDER, CLIENTS_FILE, CONFIG_FOLDER, STATE_FOLDER, UNITS_FOLDER } from './places.ts';
import { PROXY_PATHS } from './proxy-files.ts';
import { comment, shellWord } from './shell-words.ts';
import { INSTALL_SERVICE, SERVICE } from './units.ts';

/** @param files what a node is given as the cluster is now: what it was given may have had proxies besides @param about lines of a comment */
export function removeScript({ program }: NodeModel, files: readonly NodeFile[], about: string): string {
  const units = new Set([...files.map(({ path }) => path).filter((path) => path.startsWith(`${UNITS_FOLDER}/`)), ...PROXY_PATHS]);
  return `#!/bin/sh
${comment(about)}# Takes the registry from this node. Images stay in the object store. As root; again where it ended early.
# UMBRA_ROOT: the folder that holds the node's files, such as that of an image.
set -eu
root=\${UMBRA_ROOT-}
[ "$(id -u)" = 0 ] || [ -n "$root" ] || { echo 'umbra: this is for root' >&2; exit 1; }

say() { echo "umbra: $*" >&2; }
containerd() { cat "$root"/etc/containerd/*.toml "$root"/etc/containerd/*/*.toml 2>/dev/null | sha256sum; }
prints() { for file; do [ ! -e "$root$file" ] || sha256sum "$root$file"; done; }
systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
active() { systemd && systemctl is-active --quiet "$1"; }
failed=0
tell() { systemctl "$@" || { say "systemctl $* failed: see to it that $2 reads its files again"; failed=1; }; }

${FORGET}
umbra=
for one in "$root/opt/umbra/${program.version}" "$root"/opt/umbra/*; do [ ! -x "$one/bin/umbra" ] || { umbra=$one/bin/umbra; break; }; done
before_containerd=$(containerd)
before_docker=$(prints /etc/docker/daemon.json)
if [ -n "$umbra" ]; then
  (cd / && "$umbra" client-config revert --root "\${root:-/}") >&2 || { say 'see above: what clients were told is still there, so that the registry stays'; exit 1; }
elif [ -e "$root/var/lib/umbra-client-config" ]; then
  say 'the program is gone, which alone can take back what clients were told: run the install script first'
  exit 1
fi
[ -e "$root${CLIENTS_FILE}.told" ] || [ ! -e "$root${CLIENTS_FILE}" ] || cp "$root${CLIENTS_FILE}" "$root${CLIENTS_FILE}.told"
forget ''
if [ "$before_containerd" != "$(containerd)" ] && active containerd; then tell restart containerd; fi
if [ "$before_docker" != "$(prints /etc/docker/daemon.json)" ] && active docker; then tell restart docker; fi
if active crio; then tell reload crio; fi

if systemd; then systemctl disable --quiet --now ${SERVICE} ${INSTALL_SERVICE} 2>/dev/null || :; fi
for unit in ${[...units].map(shellWord).join(' ')}; do
  rm -f "$root$unit"
  case $unit in *.d/*) rmdir "$root\${unit%/*}" 2>/dev/null || : ;; esac
done
if systemd; then systemctl daemon-reload; fi
for folder in ${[STATE_FOLDER, CACHE_FOLDER].flatMap((folder) => [folder, folder.replace(/\/([^/]+)$/, '/private/$1')]).join(' ')} /opt/umbra ${CONFIG_FOLDER}; do rm -rf "$root$folder"; done
exit $failed
`;
}
