#!/bin/bash
# Shared runs on real schedulers of this host, one after the other; installs what they need when it may.
# usage: run.sh ENGINE...        slurm mpi ray parallel submitit torchrun datatrove schemas
cd "$(dirname "$0")/../.." || exit 1
[ $# -gt 0 ] || { echo "usage: run.sh slurm|mpi|ray|parallel|submitit|torchrun|datatrove|schemas ..."; exit 2; }
passed=0 failed=0 skipped=0 current=''
trap '[ -z "$current" ] || { kill -TERM "$current"; wait "$current"; }; exit 143' INT TERM HUP

# Packages of the system; a script that misses one says SKIPPED.
packages() { tests/tools/deps.sh cluster || echo "SKIPPED: not all packages are here"; }

venv() { # FOLDER REQUIREMENTS
    [ -x "$1/bin/python" ] && cmp -s "$2" "$1/requirements.txt" && return
    echo "$2 from PyPI"
    python3 -m venv "$1" && timeout 600 "$1/bin/pip" install -q --disable-pip-version-check -r "$2" && cp "$2" "$1/requirements.txt" ||
        { rm -rf "$1"; echo "SKIPPED: nothing of $2: PyPI cannot be reached"; }
}

for engine; do
    [ -x "tests/cluster/$engine.sh" ] || { echo "there is no tests/cluster/$engine.sh"; exit 2; }
    case $engine in slurm | mpi | parallel | submitit) packages ;; esac
    case $engine in ray | submitit) venv build/venv-cluster tests/cluster/requirements.txt ;; esac
    case $engine in datatrove | schemas) venv build/venv-cluster-more tests/cluster/requirements_more.txt ;; esac
    "tests/cluster/$engine.sh" &
    current=$!
    wait "$current"
    case $? in 0) passed=$((passed + 1)) ;; 77) skipped=$((skipped + 1)) ;; *) failed=$((failed + 1)) ;; esac
    current=''
done
echo "cluster: $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
