/**
 * What the DaemonSet's init container does to a node, with Umbra's own image: `umbra`, `sh` and busybox. The node's services
 * are told by its own systemctl, in the mount namespace of its first process.
 */
import { tellingWords, tellsClients, tellsDocker } from './client-files.ts';
import { HOST, USER } from './formats/daemon-set.ts';
import type { NodeModel } from './node-model.ts';
import { CACHE_FOLDER, STATE_FOLDER } from './places.ts';

export function prepareScript(model: NodeModel): string {
  const strict = model.fallback === 'none' ? ' --strict' : '';
  const docker = tellsDocker(model) ? 'for at in /usr/bin /usr/sbin /usr/local/bin /opt/bin /bin; do [ ! -x "$host$at/dockerd" ] || { tell docker; break; }; done\n' : '';
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
remember
${tellsClients(model) ? `tell kubernetes,containers --others${strict}\n${docker}` : ''}restart
`;
}

/** The images stay in the object store. */
export function undoScript(): string {
  return `${COMMON}
remember
failed=0
(cd / && umbra client-config revert --root "$host") >&2 || failed=1
restart
busybox rm -rf "$host${STATE_FOLDER}" "$host${CACHE_FOLDER}"
[ $failed = 0 ] || say 'not all could be taken back; see above'
exit $failed
`;
}

/** Both may be ended at any step, and run again. */
const COMMON = `set -eu
host=${HOST}
# Of the files of services that have not been told of changes yet. A boot takes it away, at which they read them.
untold=$host/run/umbra-untold
say() { echo "umbra: $*" >&2; }
service() { busybox nsenter --mount="$host/proc/1/ns/mnt" -- systemctl "$@"; }
prints() { for file; do [ ! -e "$host$file" ] || busybox sha256sum "$host$file"; done; }
containerd() { busybox cat "$host"/etc/containerd/*.toml "$host"/etc/containerd/*/*.toml 2>/dev/null | busybox sha256sum; }
all() { containerd; echo ,; prints /etc/docker/daemon.json; }
remember() {
  if [ ! -e "$untold" ]; then all >"$untold.new"; busybox mv "$untold.new" "$untold"; fi
  before=$(busybox cat "$untold")
}
restart_one() {
  if ! service is-active --quiet "$1"; then say "systemd does not run $1, which reads its changed files when it starts"; return; fi
  service --no-block restart "$1" || { echo "$before" >"$untold"; exit 1; }
}
# Those whose words changed. hosts.toml is read at each pull. That of docker may end this container: nothing is left to do then.
restart() {
  after=$(all)
  busybox rm "$untold"
  if service is-active --quiet crio; then service reload crio || say 'crio could not be told to read its files again'; fi
  if [ "\${before%%,*}" != "\${after%%,*}" ]; then restart_one containerd; fi
  if [ "\${before##*,}" != "\${after##*,}" ]; then restart_one docker; fi
}
`;
