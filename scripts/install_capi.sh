#!/usr/bin/env bash
# Installs the C library: headers, shared and static library, pkg-config and CMake files, and the program `dicast` with its man
# page. The program is also the worker process of `local.isolation`. Run it with `make install`.
#
#   PREFIX        where to install; default /usr/local
#   LIBDIR        where the libraries go, within PREFIX; default PREFIX/lib
#   DESTDIR       put in front of both, for packages
#   CARGO_FLAGS   such as --features cuda
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/usr/local}
libdir=${LIBDIR:-$prefix/lib}
destdir=${DESTDIR:-}

fail() {
    echo "install_capi.sh: $1" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || fail "only Linux is supported; on other systems take the library from target/release and the headers from include/"
case $libdir in "$prefix"/*) ;; *) fail "LIBDIR must be a folder in PREFIX ($prefix)" ;; esac

read -ra flags <<<"${CARGO_FLAGS:-}"
messages=$("${CARGO:-cargo}" build --release --lib --bins "${flags[@]}" --message-format json-render-diagnostics) ||
    fail "the library cannot be built"
# Without the feature `cli` there is no program.
program=$(sed -n 's/.*"executable":"\([^"]*\/dicast\)".*/\1/p' <<<"$messages")

# The system's libraries that the static library needs: what the build scripts of the dependencies name, which depends on the
# features, and what Rust's own library needs. Libraries that are named as static are inside already.
mapfile -t named < <(sed -n '/"reason":"build-script-executed"/s/.*"linked_libs":\[\([^]]*\)\].*/\1/p' <<<"$messages" |
    tr ',' '\n' | tr -d '"' | grep -v '^static\|^$' | sed 's/^dylib[^=]*=//' | sort -u)
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
log=$("${RUSTC:-rustc}" --crate-name empty --crate-type staticlib --print native-static-libs --out-dir "$empty" - 2>&1 </dev/null) ||
    fail "$log"
own=$(sed -n 's/^note: native-static-libs: //p' <<<"$log")
[ -n "$own" ] || fail "the compiler did not print what a static library needs (native-static-libs)"
natives="${named[*]/#/-l} $own"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
built=${CARGO_TARGET_DIR:-target}/release
# The SONAME, such as libdicast.so.0: see build.rs.
soname=$(sed -n 's/.*-soname,\(libdicast\.so\.[0-9]*\).*/\1/p' build.rs)
file=libdicast.so.$version

lib=$destdir$libdir
include=$destdir$prefix/include
install -d "$lib/pkgconfig" "$lib/cmake/dicast" "$include/dicast"
install -m 644 include/dicast.h include/dicast.hpp "$include/"
install -m 644 include/dicast/*.hpp "$include/dicast/"
install -m 755 "$built/libdicast.so" "$lib/$file"
ln -sf "$file" "$lib/$soname"
ln -sf "$soname" "$lib/libdicast.so"
install -m 644 "$built/libdicast.a" "$lib/"
if [ -n "$program" ]; then
    install -D -m 755 "$program" "$destdir$prefix/bin/dicast"
    install -d "$destdir$prefix/share/man/man1"
    "$program" man >"$destdir$prefix/share/man/man1/dicast.1"
fi

# Paths are relative to these files, so that the installed tree can be moved.
up=$(realpath -m --relative-to="$libdir/pkgconfig" "$prefix")
within=${libdir#"$prefix"/}
for kind in dicast dicast-static; do
    cat >"$lib/pkgconfig/$kind.pc" <<EOF
prefix=\${pcfiledir}/$up
libdir=\${prefix}/$within
includedir=\${prefix}/include

Name: $kind
Description: Judges responses by a principle in plain language, with a judge model
Version: $version
Cflags: -I\${includedir}
EOF
done
printf 'Libs: -L${libdir} -ldicast\nLibs.private: %s\n' "$natives" >>"$lib/pkgconfig/dicast.pc"
printf 'Libs: ${libdir}/libdicast.a %s\n' "$natives" >>"$lib/pkgconfig/dicast-static.pc"

up=$(realpath -m --relative-to="$libdir/cmake/dicast" "$prefix")
cat >"$lib/cmake/dicast/dicast-config.cmake" <<EOF
# dicast::dicast is the shared library, dicast::static the static one.
get_filename_component(_dicast_prefix "\${CMAKE_CURRENT_LIST_DIR}/$up" ABSOLUTE)
if(NOT TARGET dicast::dicast)
  add_library(dicast::dicast SHARED IMPORTED)
  set_target_properties(dicast::dicast PROPERTIES
    IMPORTED_LOCATION "\${_dicast_prefix}/$within/$file"
    IMPORTED_SONAME "$soname"
    INTERFACE_INCLUDE_DIRECTORIES "\${_dicast_prefix}/include")
  add_library(dicast::static STATIC IMPORTED)
  set_target_properties(dicast::static PROPERTIES
    IMPORTED_LOCATION "\${_dicast_prefix}/$within/libdicast.a"
    INTERFACE_INCLUDE_DIRECTORIES "\${_dicast_prefix}/include"
    INTERFACE_LINK_LIBRARIES "${natives// /;}")
endif()
unset(_dicast_prefix)
EOF
cat >"$lib/cmake/dicast/dicast-config-version.cmake" <<EOF
# The C interface only grows: any release that is not older than the requested one is compatible.
set(PACKAGE_VERSION "$version")
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
EOF
echo "installed $file and libdicast.a in $lib, dicast.h and dicast.hpp in $include"
