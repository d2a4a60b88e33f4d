#!/usr/bin/env bash
# install.sh BUILD: installs the build into a fresh folder, uses it from there as a stranger would (CMake package,
# pkg-config, preload, commands, manual pages), then makes the Debian packages and looks into them.
set -eu
build=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
check() { echo "$1"; shift; "$@" || { echo "FAILED: $*"; exit 1; }; }

cmake --install "$build" --prefix "$prefix" >"$work/install.log"
library=$(find "$prefix" -name libhakmem.so)
libdir=$(dirname "$library")

check "CMake package" cmake -S "$here" -B "$work/user" -DCMAKE_PREFIX_PATH="$prefix" >"$work/user.log"
check "build against it" cmake --build "$work/user" >>"$work/user.log"
expected=$(sed -n 's/^Version: //p' "$libdir/pkgconfig/hakmem.pc")
export LD_LIBRARY_PATH=$libdir
check "C program" test "$("$work/user/user_c")" = "hakmem $expected balanced"
check "mode from the environment" test "$(HAKMEM_MODE=fast "$work/user/user_c")" = "hakmem $expected fast"
check "C++ program" test "$("$work/user/user_cxx")" = "500 $expected"

export PKG_CONFIG_PATH=$libdir/pkgconfig
flags=$(pkg-config --cflags --libs hakmem)
# shellcheck disable=SC2086
check "pkg-config" cc -o "$work/by_pkg_config" "$here/user.c" $flags
check "its program" test "$("$work/by_pkg_config")" = "hakmem $expected balanced"
unset LD_LIBRARY_PATH

for command in "$prefix"/bin/hakmem-*; do
  name=$(basename "$command")
  check "$name --version" sh -c "'$command' --version | grep -qF '$name $expected'"
  check "its manual page" test -s "$prefix/share/man/man1/$name.1"
  check "its completion" bash -n "$prefix/share/bash-completion/completions/$name"
done
for page in man7/hakmem.7 man3/libhakmem.3 man5/hakmem-trace.5 man5/hakmem-policy.5; do
  check "the manual page $page" test -s "$prefix/share/man/$page"
done
# The tools find the libraries in their installed place.
if [ -x "$prefix/bin/hakmem-run" ]; then
  check "hakmem-run runs" sh -c "'$prefix/bin/hakmem-run' cat /proc/self/maps | grep -qF '$library'"
fi
if [ -x "$prefix/bin/hakmem-trace" ]; then
  (cd "$work" && check "hakmem-trace records" "$prefix/bin/hakmem-trace" -q -o t.gz ls / >/dev/null && gzip -t t.gz)
fi

mkdir "$work/packages"
(cd "$work/packages" && cpack -G DEB --config "$build/CPackConfig.cmake" -B "$work/packages") >"$work/cpack.log" 2>&1 ||
  { cat "$work/cpack.log"; exit 1; }
holds() { dpkg-deb -c "$work"/packages/"$1"_*.deb | grep -qE "$2" || { echo "FAILED: $1 has no $2"; exit 1; }; }
for package in libhakmem libhakmem-dev hakmem-tools; do
  holds "$package" "share/doc/$package/copyright\$"
done
holds libhakmem 'lib/.*libhakmem\.so$'
holds libhakmem-dev 'include/hakmem\.h$'
holds libhakmem-dev 'pkgconfig/hakmem\.pc$'
holds hakmem-tools 'share/doc/hakmem/README\.md$'
for command in "$prefix"/bin/hakmem-*; do
  holds hakmem-tools "bin/$(basename "$command")\$"
done
dpkg-deb -f "$work"/packages/libhakmem_*.deb Depends | grep -q libc6 || { echo "FAILED: no dependency on libc6"; exit 1; }
holds hakmem-tools 'man/man1/hakmem-report\.1\.gz$'
if command -v lintian >/dev/null; then
  findings=$(lintian --no-cfg --allow-root --fail-on none "$work"/packages/*.deb 2>&1) || true
  [ -z "$findings" ] || { echo "FAILED: lintian says"; echo "$findings"; exit 1; }
else
  echo "lintian is not installed: what it would say of the packages is not known"
fi
echo "installed, used and packaged"
