#!/bin/bash
# What became of each line of a sweep. usage: sweep_summary.sh sweep.txt OUT. Exit status 1 when one is not finished.
number=0 unfinished=0
while read -r line; do
    number=$((number + 1))
    said=$(qkengine status "$2/$number" 2>/dev/null | head -n 1)
    case "$said" in *": finished:"*) ;; *) unfinished=$((unfinished + 1)) ;; esac
    printf '%3d  %-60s  %s\n' "$number" "$line" "${said:-not begun}"
done <"$1"
echo "$((number - unfinished)) of $number finished"
[ $unfinished = 0 ]
