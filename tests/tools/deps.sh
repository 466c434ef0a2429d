#!/bin/sh
# Installs what is missing, or prints the one command that does.
# usage: deps.sh build    libraries and compiler
#        deps.sh test     also what the tests need
#        deps.sh cluster  what tests/cluster needs
#        deps.sh look     says what `build` would install; changes nothing
packages="gcc make pkg-config libyaml-dev libzstd-dev libsnappy-dev zlib1g-dev liblz4-dev libbrotli-dev libcurl4-openssl-dev libssl-dev"
libraries="yaml-0.1 libzstd snappy zlib liblz4 libbrotlidec libcurl libcrypto"
if [ "$1" = test ]; then
    packages="$packages libpcre2-dev openssl python3 python3-venv clang clang-format xz-utils bible-kjv bible-kjv-text groff-base man-db mandoc zsh fish"
    libraries="$libraries libpcre2-8"
fi
if [ "$1" = cluster ]; then # whose scripts look for their programs themselves
    packages="slurm-wlm munge openmpi-bin parallel python3 python3-venv"
    libraries=""
fi

if command -v dpkg-query >/dev/null 2>&1 && [ "$1" != look ]; then
    missing=""
    for p in $packages; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
    done
    [ -z "$missing" ] && exit 0
    if [ "$(id -u)" = 0 ]; then
        echo "installing:$missing"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null
        exit
    fi
    echo "Some packages are missing. Install them with:"
    echo "  sudo apt-get install$missing"
    exit 1
fi
command -v pkg-config >/dev/null 2>&1 || [ "$1" != look ] || exit 0 # the compiler will say
missing=""
for library in $libraries; do
    pkg-config --exists "$library" 2>/dev/null || missing="$missing $library"
done
[ -z "$missing" ] && exit 0
echo "These libraries were not found by pkg-config:$missing"
echo "Install their development packages with your system's package manager; on Debian and Ubuntu:"
echo "  sudo apt-get install $packages"
exit 1
