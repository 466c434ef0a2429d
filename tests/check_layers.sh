#!/bin/sh
# Who may include whom: engine/base <- {kernels, formats, sampler} <- hub (formats only) <- engine.
# Prints each include that points the wrong way, and includes that are not rooted.
allowed() {
    case "$1" in
    engine/base) echo "engine/base" ;;
    kernels) echo "engine/base kernels" ;;
    formats) echo "engine/base formats" ;;
    sampler) echo "engine/base sampler" ;;
    hub) echo "engine/base formats hub" ;;
    engine) echo "engine/base engine kernels formats sampler hub" ;;
    esac
}
rc=0
for f in $(git ls-files 'engine/*.[ch]' 'kernels/*.[ch]' 'kernels/*.cu' 'kernels/*.cuh' 'formats/*.[ch]' 'sampler/*.[ch]' 'hub/*.[ch]'); do
    case "$f" in engine/base/*) from=engine/base ;; *) from=${f%%/*} ;; esac
    for inc in $(sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$f"); do
        case "$inc" in
        engine/base/*) to=engine/base ;;
        */*) to=${inc%%/*} ;;
        *) echo "$f: include path is not rooted: $inc"; rc=1; continue ;;
        esac
        case " $(allowed "$from") " in *" $to "*) ;; *) echo "$f: $from must not include $inc"; rc=1 ;; esac
    done
done
[ $rc = 0 ] && echo "layers: every include points the right way"
exit $rc
