/**
 * The script that every format has a node run: it fetches the program of the node's architecture, checks and unpacks it,
 * and has it tell the container runtimes. POSIX, and good to run again: it does what is not done yet. Holds no secret, but
 * for what the URL of a proxy may have, which the units have, too.
 */
import { clientsOf, tellingWords, tellsClients, tellsDocker } from './client-files.ts';
import { nodeFile } from './node-file.ts';
import type { NodeFile } from './node-file.ts';
import type { Architecture, NodeModel } from './node-model.ts';
import { CLIENTS_FILE, CLUSTERS_CA_FILE, CONFIG_FOLDER, INSTALL_SCRIPT, programFolder } from './places.ts';
import { proxyEnvironment } from './proxy-files.ts';
import { shellWord } from './shell-words.ts';
import { INSTALL_SERVICE, SERVICE } from './units.ts';

const MACHINES: Readonly<Record<Architecture, string>> = { amd64: 'x86_64 | amd64', arm64: 'aarch64 | arm64' };

/** Takes away what clients were given as whole files before, but for paths of a list; nothing that somebody has changed. */
export const FORGET: string = `# forget PATHS: but for these, one a line
forget() {
  [ -e "$root${CLIENTS_FILE}.told" ] || return 0
  while read -r sum path; do
    if printf '%s\\n' "$1" | grep -qxF "$path"; then continue; fi
    if [ "$sum  $root$path" = "$(sha256sum "$root$path" 2>/dev/null)" ]; then
      rm -f "$root$path"
      rmdir "$root\${path%/*}" 2>/dev/null || :
    fi
  done <"$root${CLIENTS_FILE}.told"
}
`;

/** Whoever runs it: a person, cloud-init or systemd. The clusters service is reached directly, as by the program; an image is made as its maker says. */
function proxyWords({ proxies, login }: NodeModel): string {
  if (proxies === undefined) return '';
  const none = login.kind === 'bootstrap' ? [...proxies.none, new URL(login.url).hostname.replace(/^\[|\]$/g, '')] : proxies.none;
  const words = proxyEnvironment({ ...proxies, none }).map(([name, value]) => `${name}=${shellWord(value)}`);
  return `[ -n "$root" ] || export ${words.join(' ')}\n`;
}

/** @param files all others of the node: the service is restarted when one of them changed */
export function installScript(model: NodeModel, files: readonly NodeFile[]): NodeFile {
  return nodeFile(INSTALL_SCRIPT, text(model, files), { mode: 0o755 });
}

function text(model: NodeModel, files: readonly NodeFile[]): string {
  const { program, login, port, fallback, cluster } = model;
  const tarballs = Object.entries(program.tarballs).map(
    ([arch, { url, sha256 }]) => `    ${MACHINES[arch as Architecture /* a record's own keys */]}) url=${shellWord(url)} sha256=${shellWord(sha256)} ;;\n`,
  );
  const strict = fallback === 'none' ? ' --strict' : '';
  const ca = login.kind === 'bootstrap' && login.ca !== undefined ? CLUSTERS_CA_FILE : undefined;
  return `#!/bin/sh
# Fetches Umbra ${program.version} if it is not there, and tells this node's container runtimes of it.
#   install         and have systemd run it; go on trying, where it cannot be fetched now
#   install boot    as ${INSTALL_SERVICE} does, which must not wait for the services that wait for it
#   install wait    until it serves
# UMBRA_ROOT: the folder that holds the node's files, such as that of an image; none: /.
set -eu
umask 022
mode=\${1-now}
root=\${UMBRA_ROOT-}
${proxyWords(model)}folder=$root${shellWord(programFolder(program.version))}
umbra=$folder/bin/umbra

say() { echo "umbra: $*" >&2; }

has() { command -v "$1" >/dev/null; }

# get URL FILE OPTION...
get() {
  from=$1 to=$2
  shift 2
  if has curl; then curl -fsSL "$@" -o "$to" "$from"; return; fi
  has wget || { say 'neither curl nor wget is here'; return 1; }
  wget -q "$@" -O "$to" "$from"
}

# get_patiently URL FILE [CA]: also from who is just being restarted. Two of them end before the unit's TimeoutStartSec=.
get_patiently() {
  if has curl; then
    get "$1" "$2" \${3:+--cacert "$3"} --connect-timeout 10 --max-time 300 --retry 5 --retry-connrefused --retry-max-time 120
  elif wget --version >/dev/null 2>&1; then
    get "$1" "$2" \${3:+"--ca-certificate=$3"} --timeout=20 --tries=6 --waitretry=10 --retry-connrefused --retry-on-http-error=429,500,502,503,504
  else
    get "$1" "$2" # BusyBox's wget has no such options.
  fi
}

fetch() {
  [ ! -x "$umbra" ] || return 0
  case $(uname -m) in
${tarballs.join('')}    *) say "there is no program for $(uname -m)"; return 1 ;;
  esac
  # First of all: who starts this once, at the first boot, does not do so again.
  [ "$mode" = boot ] || active ${SERVICE} || enable
  new=
  trap unfetched EXIT
  mkdir -p "$root/opt/umbra"
  new=$(mktemp -d "$root/opt/umbra/.new.XXXXXX")
  ${ca === undefined ? '' : `get_patiently "$url" "$new/tarball" "$root${ca}" || `}get_patiently "$url" "$new/tarball"
  if [ "$(sha256sum <"$new/tarball" | cut -d ' ' -f 1)" != "$sha256" ]; then say "$url is not what it should be: its SHA-256 is another"; return 1; fi
  mkdir "$new/program"
  tar -xzf "$new/tarball" -C "$new/program" --no-same-owner
  inner=$new/program
  # With a folder of its own around it, or without.
  [ -x "$inner/bin/umbra" ] || for one in "$inner"/*/; do inner=\${one%/}; done
  [ -x "$inner/bin/umbra" ] || { say "there is no bin/umbra in $url"; return 1; }
  chmod 755 "$inner"
  # /opt has no label that systemd may run programs of.
  [ -x "$umbra" ] || mv "$inner" "$folder"
  if [ -z "$root" ] && command -v restorecon >/dev/null; then restorecon -R /opt/umbra || :; fi
  rm -rf "$new"
  trap - EXIT
}

# The program is not there: the unit goes on trying. Where there is a registry already, that stays as it is.
unfetched() {
  status=$?
  [ -z "$new" ] || rm -rf "$new"
  [ "$mode" = now ] && systemd || exit $status
  if active ${SERVICE} || active ${INSTALL_SERVICE}; then
    say "could not fetch ${program.version}; this node's registry stays as it was, until this is run again"
  elif systemctl --no-block start ${INSTALL_SERVICE}; then
    say "this node has no registry yet; ${INSTALL_SERVICE} goes on trying to fetch it: journalctl -u ${INSTALL_SERVICE}"
  fi
  exit $status
}

# tell CLIENTS OPTION...
tell() {
  clients=$1
  shift
  (cd / && "$umbra" client-config apply --for "$clients" ${tellingWords(model)} --root "\${root:-/}" "$@") >&2
}

# What containerd reads at its start; hosts.toml is read at each pull.
containerd() { cat "$root"/etc/containerd/*.toml "$root"/etc/containerd/*/*.toml 2>/dev/null | sha256sum; }
prints() { for file; do [ ! -e "$root$file" ] || sha256sum "$root$file"; done; }

${FORGET}systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
active() { systemd && systemctl is-active --quiet "$1"; }
enabled=0
enable() {
  systemd && [ $enabled = 0 ] || return 0
  systemctl daemon-reload
  systemctl enable --quiet ${INSTALL_SERVICE} ${SERVICE}
  enabled=1
}
# Who waits for ${INSTALL_SERVICE} cannot be waited for by it.
control() { if [ "$mode" = boot ]; then systemctl --no-block "$@"; else systemctl "$@"; fi; }

failed=0
tell_runtimes() {
${runtimes(model, strict)}  forget "$(cut -d ' ' -f 3- "$root${CLIENTS_FILE}")"
  cp "$root${CLIENTS_FILE}" "$root${CLIENTS_FILE}.told"
}

run() {
  set -- ${[...files.map(({ path }) => path), INSTALL_SCRIPT].map(shellWord).join(' ')}
  systemd || return 0
  if [ "$mode" = boot ]; then control start ${SERVICE}; return; fi
  prints "$@" >${CONFIG_FOLDER}/.new
  if active ${SERVICE} && cmp -s ${CONFIG_FOLDER}/.new ${CONFIG_FOLDER}/.running; then rm ${CONFIG_FOLDER}/.new; return; fi
  enable
  systemctl restart ${SERVICE}
  mv ${CONFIG_FOLDER}/.new ${CONFIG_FOLDER}/.running
  for other in /opt/umbra/*; do [ "$other" = "$folder" ] || rm -rf "$other"; done
}

case $mode in
  wait)
    tries=0
    until get http://127.0.0.1:${port}/readyz /dev/null 2>/dev/null; do
      tries=$((tries + 1))
      # systemd starts it again only when nobody waits for it any more.
      [ -z "\${MAINPID-}" ] || kill -0 "$MAINPID" 2>/dev/null || { say 'ended before it served'; exit 1; }
      [ $tries -lt 90 ] || { say 'does not serve yet; see journalctl -u ${SERVICE}'; exit 1; }
      sleep 1
    done
    ;;
  now | boot)
    fetch
    tell_runtimes
    run
    [ $failed = 0 ] || say 'not all of the container runtimes could be told; see above'
    [ "$mode" = boot ] || exit $failed
    ;;
  *) say "expected boot, wait or nothing, got $mode"; exit 2 ;;
esac
`;

  function runtimes(one: NodeModel, strictly: string): string {
    if (!tellsClients(one)) return '  : # there is no upstream to stand in for\n';
    const docker = !tellsDocker(one) ? '' : `${cluster.coe === 'kubernetes' ? '  for at in /usr/bin /usr/sbin /usr/local/bin /opt/bin /bin; do\n    [ -x "$root$at/dockerd" ] || continue\n' : '  for once in 1; do\n'}    before=$(prints /etc/docker/daemon.json)
    tell docker || failed=1
    if [ "$before" != "$(prints /etc/docker/daemon.json)" ] && active docker; then control restart docker || failed=1; fi
    break
  done
`;
    const kubernetes = cluster.coe !== 'kubernetes' ? '' : `  if [ "$before" != "$(containerd)" ] && active containerd; then control restart containerd || failed=1; fi
  if active crio; then control reload crio || failed=1; fi
`;
    return `  before=$(containerd)
  tell ${clientsOf(one).join(',')}${strictly} || failed=1
${kubernetes}${docker}`;
  }
}
