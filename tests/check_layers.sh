#!/bin/sh
# Who may include whom. Top folders: engine/base <- {kernels, formats, sampler} <- hub (formats only) <- engine.
# Inside engine/ the folders are the steps of the pipeline, and each may include what stands above it in this table only.
# Prints each include that points the wrong way, and includes that are not rooted or in <>.
allowed() { # FOLDER: what its files may include, itself left out
    case "$1" in
    base) ;;
    kernels | formats | sampler) echo "base" ;;
    hub) echo "base formats" ;;
    config) echo "base formats sampler" ;;
    dataset) echo "base formats sampler hub config" ;;
    tokenizer) echo "base formats" ;;
    families) echo "base formats sampler kernels" ;;
    model) echo "base formats kernels families" ;;
    forward) echo "base kernels families model" ;;
    capture) echo "base sampler kernels forward" ;;
    staging) echo "base formats kernels capture" ;;
    output) echo "base formats sampler tokenizer capture staging" ;;
    push) echo "base formats sampler hub staging output" ;;
    run) echo "base formats kernels sampler hub config dataset tokenizer families model forward capture staging output" ;;
    tools) echo "base formats kernels tokenizer families model forward output" ;;
    commands) echo "base formats kernels sampler hub config dataset tokenizer families output push run tools" ;;
    engine) echo "base commands" ;; # main.c
    esac
}
# "engine/run/plan.h" -> run, "engine/main.c" -> engine, "kernels/cpu/matrix.c" -> kernels
folder_of() {
    case "$1" in
    engine/*/*) folder=${1#engine/} folder=${folder%%/*} ;;
    *) folder=${1%%/*} ;;
    esac
}
rc=0
for f in $(git ls-files 'engine/*.[ch]' 'kernels/*.[ch]' 'kernels/*.cu' 'kernels/*.cuh' 'formats/*.[ch]' 'sampler/*.[ch]' 'hub/*.[ch]'); do
    folder_of "$f"
    from=$folder may=" $folder $(allowed "$folder") "
    case "$f" in
    engine/main.c | */*/*) ;;
    engine/*) echo "$f: engine/ itself holds main.c alone; the rest is in its folders"; rc=1 ;;
    esac
    for inc in $(sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p; s/^ *# *include *<\(\(engine\|kernels\|formats\|sampler\|hub\)\/[^>]*\)>.*/\1/p' "$f"); do
        case "$inc" in
        */*) folder_of "$inc" ;;
        *) echo "$f: include path is not rooted: $inc"; rc=1; continue ;;
        esac
        case "$may" in *" $folder "*) ;; *) echo "$f: $from must not include $inc"; rc=1 ;; esac
    done
done
[ $rc = 0 ] && echo "layers: every include points the right way"
exit $rc
