# packages.sh: which Debian packages the project wants, and how what is missing gets installed. Sourced by the other
# scripts; prints to stderr only. Nothing is fetched when nothing is missing.

HAK_BUILD_PACKAGES="gcc g++ libc6-dev cmake ninja-build pkg-config zlib1g-dev libdeflate-dev libzstd-dev liblzma-dev libbz2-dev
  libunwind-dev libdw-dev libiberty-dev"
HAK_TEST_PACKAGES="libcmocka-dev bats clang clang-format clang-tidy libclang-rt-14-dev llvm-14 valgrind git binutils file
  bc man-db procps dpkg-dev lintian sqlite3 python3 perl jq nodejs redis-tools libsqlite3-0 heaptrack parallel zip zstd
  bzip2 xz-utils"
# The page of hakmem-report is tried in it; any Chromium that is there already will do. Large, so nothing fails for want of it.
HAK_BROWSER_PACKAGES="chromium-headless-shell"
HAK_PEER_PACKAGES="libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4"
HAK_DEMO_PACKAGES="sqlite3 python3 gzip"
HAK_PROVE_PACKAGES="sqlite3 jq g++ z3 ghostscript perl lua5.4 python3 redis-server memcached mariadb-server-core"

# hak_install PACKAGE…: installs those that are missing, as root or through sudo.
hak_install() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "no apt-get here: these Debian packages must be there in your system's form: $*" >&2
    return 0
  fi
  local missing="" package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  local become=""
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "missing:$missing (install them as root, or install sudo)" >&2; return 1; }
    become=sudo
  fi
  echo "installing:$missing" >&2
  # What apt-get says is worth reading only when it fails.
  local said
  # shellcheck disable=SC2086
  said=$({ $become apt-get -qq update &&
    $become env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing; } 2>&1 </dev/null) ||
    { printf '%s\n' "$said" >&2; return 1; }
}
