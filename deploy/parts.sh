# What Umbra is made of, for whoever packs it (deploy/image/build, deploy/tarball/build): the program as `make build` left
# it, the Node.js and the native code that package-lock.json pins, and of Debian what these need of a machine.
# Sourced by bash in the root of the project, with set -euo pipefail. Nothing is installed on this machine.

VERSION=$(node -p 'require("./package.json").version')
# Of the last commit, so that the same sources make the same bytes.
EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
case $(uname -m) in
  x86_64 | amd64) MACHINE=amd64 ;;
  aarch64 | arm64) MACHINE=arm64 ;;
  *) MACHINE=none ;;
esac
work=$(mktemp -d "${TMPDIR:-/tmp}/umbra-parts.XXXXXX")
trap 'rm -rf "$work"' EXIT

# $1: who asks, then programs that there must be.
needs() {
  local asks=$1 program
  shift
  for program; do
    command -v "$program" >/dev/null || { echo "$asks: $program is missing: run test/services/install, or apt-get install $program" >&2; exit 1; }
  done
}

# Packages of Debian for $1, unpacked into $2: those named after. apt's own state is left alone: the architecture may be a
# foreign one. Lists of packages are kept in .cache/parts.
debian() {
  local arch=$1 into=$2 state=$PWD/.cache/parts/$1/apt package
  shift 2
  mkdir -p "$state"/{lists/partial,archives/partial} "$work/deb.$arch"
  : >>"$state/status"
  local apt=(apt-get -qq -o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o "Dir::State=$state" -o "Dir::State::status=$state/status"
    -o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state" -o Acquire::Languages=none -o APT::Sandbox::User=root)
  # One at a time: others may pack other things of the same project meanwhile.
  (flock 9 && "${apt[@]}" update && cd "$work/deb.$arch" && "${apt[@]}" download "$@") 9>"$state/lock"
  for package in "$work/deb.$arch"/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x -C "$into" --exclude ./usr/share/doc --exclude ./usr/share/man; done
}

# Prints a folder with what npm brings for $1, in which more may lie: for this machine it is here already.
packages() {
  local arch=$1 cpu=$1 into=$work/npm.$1
  [ "$arch" != "$MACHINE" ] || { echo node_modules; return; }
  [ "$arch" != amd64 ] || cpu=x64
  mkdir -p "$into"
  cp package.json package-lock.json "$into"
  (cd "$into" && npm ci --omit=dev --ignore-scripts --os=linux --cpu="$cpu" --libc=glibc --no-audit --no-fund --loglevel=error >&2)
  echo "$into/node_modules"
}

# Of npm for $1, into $2/node_modules: what is not in the bundle. Changes seldom.
native_parts() {
  local modules module cpu=$1
  [ "$cpu" != amd64 ] || cpu=x64
  mkdir -p "$2/node_modules"
  modules=$(packages "$1")
  for module in "$modules"/{@node-rs,node-linux-*}; do
    [ -e "$module" ] || continue
    cp -r "$module" "$2/node_modules"
  done
  # npm says nothing of an optional package that it cannot get.
  for module in "node-linux-$cpu" "@node-rs/bcrypt-linux-$cpu-gnu"; do
    [ -d "$2/node_modules/$module" ] || { echo "npm has not brought $module: is it in package-lock.json with its integrity?" >&2; exit 1; }
  done
  # Of Node.js the program alone: no headers, no manual.
  find "$2"/node_modules/node-linux-* -mindepth 1 -maxdepth 1 ! -name bin ! -name package.json ! -name LICENSE -exec rm -rf {} +
}

# Into $1: the program, for any architecture.
program_parts() {
  mkdir -p "$1"
  cp -r bin dist package.json LICENSE "$1"
  find "$1/dist" -name '*.map' -delete
}
