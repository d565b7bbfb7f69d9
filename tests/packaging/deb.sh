#!/usr/bin/env bash
# deb.sh build SOURCE FOLDER     builds the Debian packages in FOLDER and looks into them (any user)
# deb.sh install SOURCE FOLDER   installs them with apt, runs the broker as its unit would, removes and purges them
#
# The second part changes the machine: it runs as root, on a machine that systemd does not run (a container, a CI
# machine), and only where none of the packages is installed. Anywhere else it says so and is skipped.
set -euo pipefail
part=$1 source=$2 folder=$3

die() {
    echo "deb.sh: $*" >&2
    exit 1
}
skip() {
    echo "skipped: $*"
    exit 77
}

build() {
    command -v dpkg-shlibdeps >/dev/null || skip "the Debian package tools (dpkg-dev) are not installed"
    cd "$source"
    cmake --preset package -B "$folder" >/dev/null
    cmake --build "$folder" --target crierd crier crier_shared crier_static crier_embed_shared crier_embed_static
    cd "$folder"
    rm -f ./*.deb
    cpack
    look
}

file_of() { # PACKAGE -> its .deb
    local found=("$folder/$1"_*.deb)
    [ -f "${found[0]}" ] || die "there is no package $1"
    echo "${found[0]}"
}

has() { # PACKAGE PATH...
    local package=$1 contents path
    shift
    contents=$(dpkg-deb -c "$(file_of "$package")" | awk '{ print $6 }')
    for path; do
        grep -qx "\.$path" <<<"$contents" || die "$package has no $path"
    done
}

look() {
    local libraries
    libraries=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
    has crierd /usr/bin/crierd /usr/lib/systemd/system/crierd.service /etc/crier/crierd.conf \
        /usr/share/man/man8/crierd.8.gz /usr/share/bash-completion/completions/crierd
    has crier /usr/bin/crier /usr/share/man/man1/crier.1.gz /usr/share/bash-completion/completions/crier
    has libcrier0 "$libraries/libcrier.so.0"
    has libcrier-embed0 "$libraries/libcrier-embed.so.0"
    has libcrier-dev "$libraries/libcrier-embed.so" "$libraries/libcrier-embed.a" \
        "$libraries/pkgconfig/crier-embed.pc"
    has libcrier-dev "$libraries/libcrier.so" "$libraries/libcrier.a" "$libraries/pkgconfig/crier.pc" \
        "$libraries/cmake/crier/crierConfig.cmake" /usr/include/crier/crier.h /usr/share/man/man3/libcrier.3.gz
    dpkg-deb -f "$(file_of crierd)" Depends | grep -q 'liblmdb0.*' || die "crierd does not depend on what it links"
    dpkg-deb -f "$(file_of libcrier0)" Depends | grep -q liblmdb0 && die "libcrier0 depends on the broker's store"
    dpkg-deb -I "$(file_of crierd)" conffiles | grep -qx /etc/crier/crierd.conf || die "crierd.conf is no conffile"
    dpkg-deb -I "$(file_of libcrier0)" shlibs | grep -q '^libcrier 0 libcrier0 ' || die "libcrier0 has no shlibs"
}

# ---- installing ----

PACKAGES=(crierd crier libcrier0 libcrier-embed0 libcrier-dev)
broker=""

clean_up() {
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
    DEBIAN_FRONTEND=noninteractive dpkg --purge --force-depends "${PACKAGES[@]}" >/dev/null 2>&1 || true
    rm -rf /var/lib/crier "$work"
}

check_machine() {
    local package path
    [ "$(id -u)" -eq 0 ] || skip "installing needs root"
    [ ! -d /run/systemd/system ] || skip "systemd runs this machine: use a container"
    for package in "${PACKAGES[@]}"; do
        ! dpkg-query -W "$package" >/dev/null 2>&1 || skip "$package is installed on this machine"
    done
    for path in /var/lib/crier /etc/crier; do
        [ ! -e $path ] || skip "crier has been used on this machine: there is $path"
    done
}

# The command of the unit, as a user without rights, in the folder that StateDirectory= would make.
serve() {
    local -a command
    read -r -a command < <(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/crierd.service)
    install -d -o nobody -g nogroup -m 0700 /var/lib/crier
    "${command[@]}" --check-config | grep -qx ok || die "the installed configuration is wrong"
    mkfifo "$work/output"
    CRIERD_LISTEN=127.0.0.1:0 setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs \
        --bounding-set=-all "${command[@]}" >"$work/output" 2>"$work/log" &
    broker=$!
    read -r -t 30 line <"$work/output" || {
        cat "$work/log"
        die "the broker did not start"
    }
    [[ $line =~ ^listening\ on\ (127\.0\.0\.1:[0-9]+)$ ]] || die "the broker said: $line"
    export CRIER_URL=crier://${BASH_REMATCH[1]}
}

use() {
    crier ping --count 1 >/dev/null || die "crier ping failed"
    [ "$(crier emit shop.orders 'one umbrella')" = "acked 1" ] || die "crier emit failed"
    [ "$(crier on shop.orders --from earliest --count 1)" = "one umbrella" ] || die "crier on failed"
}

stop() {
    local status=0
    kill -TERM "$broker"
    wait "$broker" || status=$?
    broker=""
    [ $status -eq 0 ] || die "the broker ended with $status"
}

gone() { # everything the packages had, but the folders that others use, too
    local path
    while read -r path; do
        if [ -f "$path" ] || [ -L "$path" ]; then die "left behind: $path"; fi
    done <"$work/files"
    for path in /etc/crier /etc/systemd/system/multi-user.target.wants/crierd.service \
        /etc/systemd/system/crierd.service /var/lib/systemd/deb-systemd-helper-enabled/crierd.service.dsh-also; do
        if [ -e "$path" ] || [ -L "$path" ]; then die "left behind: $path"; fi
    done
    [ -f /var/lib/crier/meta.mdb ] || die "the data is gone"
}

install_all() {
    local files=() package
    check_machine
    work=$(mktemp -d)
    chmod 711 "$work"
    trap clean_up EXIT
    for package in "${PACKAGES[@]}"; do
        files+=("$(file_of "$package")")
    done
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=60 "${files[@]}" >"$work/apt" 2>&1 || {
        cat "$work/apt"
        die "apt-get install failed"
    }
    dpkg -L "${PACKAGES[@]}" | sort -u >"$work/files"
    [ -L /etc/systemd/system/multi-user.target.wants/crierd.service ] || die "the unit is not enabled"
    ldconfig -p | grep -q 'libcrier\.so\.0 ' || die "the linker does not know libcrier.so.0"
    echo '#include <crier/crier.h>
int main(void) { return crier_strerror(0) == 0; }' >"$work/hello.c"
    # shellcheck disable=SC2046 # words are what is wanted
    cc "$work/hello.c" $(pkg-config --cflags --libs crier) -o "$work/hello"
    "$work/hello" || die "a program does not run with the installed library"

    serve
    use
    stop

    apt-get remove -y -qq -o DPkg::Lock::Timeout=60 "${PACKAGES[@]}" >"$work/apt" 2>&1 || die "apt-get remove failed"
    [ -f /etc/crier/crierd.conf ] || die "remove took the configuration, purge should"
    dpkg --purge "${PACKAGES[@]}" >"$work/apt" 2>&1 || { # apt knows no packages that no archive has
        cat "$work/apt"
        die "dpkg --purge failed"
    }
    gone
}

case $part in
build) build ;;
install) install_all ;;
*) die "what is $part?" ;;
esac
