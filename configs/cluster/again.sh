#!/bin/bash
# Starts a command again when it was killed, or stopped with exit status 3 ("the same command goes on"): for launchers
# that end all ranks when one ends badly (mpirun, torchrun), and for those that never start anything again.
# usage: again.sh qkengine run my.yaml
#
# Exit status 0, 1 (bad input) and 2 (wrong usage) are final. A signal to this script is passed on, and nothing is started behind
# it, so that preemption ends it with 3. After 20 starts it gives up: a disk that stays full is no reason to try for ever.
tries=20 pause=10 pid='' told=''

pass_on() { told=yes; [ -z "$pid" ] || kill -TERM "$pid"; }
trap pass_on TERM INT HUP USR1 USR2

while :; do
    "$@" &
    pid=$!
    wait "$pid" && exit 0
    rc=$?
    while kill -0 "$pid" 2>/dev/null; do # a signal ends `wait`, not the process
        wait "$pid"
        rc=$?
    done
    tries=$((tries - 1))
    [ -z "$told" ] && [ $tries -gt 0 ] || exit $rc
    case $rc in
    3) sleep $pause & pid=$!; wait "$pid" ;;                     # the network, a full disk
    12[89] | 1[3-9]? | 2??) echo "again.sh: killed (exit status $rc); starting again" >&2 ;;
    *) exit $rc ;;
    esac
    [ -z "$told" ] || exit 3
done
