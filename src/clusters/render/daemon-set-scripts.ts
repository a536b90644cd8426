/**
 * What the DaemonSet's init container does to a node, with Umbra's own image: `umbra`, `sh` and busybox. The node's services
 * are told by its own systemctl, in the mount namespace of its first process.
 */
import { clientFiles, tellingWords, tellsClients, tellsDocker } from './client-files.ts';
import { HOST, USER } from './formats/daemon-set.ts';
import type { NodeModel } from './node-model.ts';
import { ANY_MACHINE } from '../../client-config/request.ts';
import { CACHE_FOLDER, STATE_FOLDER } from './places.ts';
import { shellWord } from './shell-words.ts';

export function prepareScript(model: NodeModel): string {
  const { fallback } = model;
  const told = !tellsClients(model) ? '' : `tell kubernetes,containers${fallback === 'none' ? ' --strict' : ''}\n${tellsDocker(model) ? `for at in /usr/bin /usr/sbin /usr/local/bin /opt/bin /bin; do [ ! -x "$host$at/dockerd" ] || { tell docker; break; }; done\n` : ''}`;
  const fallbackHosts = clientFiles(model).find(({ path }) => path === `${ANY_MACHINE.hostsDir}/_default/hosts.toml`);
  return `${COMMON}
tell() {
  clients=$1
  shift
  (cd / && umbra client-config apply --root "$host" --for "$clients" ${tellingWords(model)} "$@") >&2 || say 'not all could be told; see above'
}

for folder in ${STATE_FOLDER} ${CACHE_FOLDER}; do
  busybox mkdir -p "$host$folder"
  busybox chown ${USER}:${USER} "$host$folder"
  busybox chmod 700 "$host$folder"
done
before=$(all)
${told}${fallbackHosts === undefined ? '' : `busybox mkdir -p "$host${fallbackHosts.path.slice(0, fallbackHosts.path.lastIndexOf('/'))}"
printf '%s' ${shellWord(fallbackHosts.content)} >"$host${fallbackHosts.path}"
`}restart
`;
}

/** The images stay in the object store. */
export function undoScript(model: NodeModel): string {
  const fallbackHosts = clientFiles(model).find(({ path }) => path === `${ANY_MACHINE.hostsDir}/_default/hosts.toml`);
  return `${COMMON}
before=$(all)
(cd / && umbra client-config revert --root "$host") >&2
${fallbackHosts === undefined ? '' : `file=$host${fallbackHosts.path}
if [ "$(busybox cat "$file" 2>/dev/null; echo .)" = ${shellWord(`${fallbackHosts.content}.`)} ]; then busybox rm "$file"; busybox rmdir "\${file%/*}" 2>/dev/null || :; fi
`}restart
busybox rm -rf "$host${STATE_FOLDER}" "$host${CACHE_FOLDER}"
`;
}

const COMMON = `set -eu
host=${HOST}
say() { echo "umbra: $*" >&2; }
service() { busybox nsenter --mount="$host/proc/1/ns/mnt" -- systemctl "$@"; }
prints() { for file; do [ ! -e "$host$file" ] || busybox sha256sum "$host$file"; done; }
containerd() { busybox cat "$host"/etc/containerd/*.toml "$host"/etc/containerd/*/*.toml 2>/dev/null | busybox sha256sum; }
all() { containerd; echo ,; prints /etc/docker/daemon.json; }
# Those whose words changed. hosts.toml is read at each pull.
restart() {
  after=$(all)
  if [ "\${before%%,*}" != "\${after%%,*}" ] && service is-active --quiet containerd; then service --no-block restart containerd; fi
  if [ "\${before##*,}" != "\${after##*,}" ] && service is-active --quiet docker; then service --no-block restart docker; fi
  if service is-active --quiet crio; then service reload crio; fi
}
`;
