#!/bin/sh
# Who may include whom. Top folders: engine/base <- {kernels, formats, sampler} <- hub (formats only) <- engine.
# Inside engine/ the folders are the steps of the pipeline, and each may include what stands above it in this table only.
# Prints each include that points the wrong way, and includes that are not rooted or in <>.
# Then, for modules (x.c with x.h): no circles but of a head and its parts, and no header that pulls in more than a dozen others
# (declare `typedef struct x x;` where a pointer is enough, and include x.h in the .c files).

# Heads: the .c includes the headers of its parts, which speak of the types in its .h. Every circle goes through one of them.
heads="engine/config/config engine/dataset/folder engine/model/model
    engine/tokenizer/load formats/parquet_write formats/safetensors formats/yaml hub/http kernels/backend"
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
    bench) echo "base formats kernels sampler families model forward capture staging output tools" ;;
    commands) echo "base formats kernels sampler hub config dataset tokenizer families output push run tools bench" ;;
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
files=$(git ls-files 'engine/*.[ch]' 'kernels/*.[ch]' 'kernels/*.cu' 'kernels/*.cuh' 'formats/*.[ch]' 'sampler/*.[ch]' 'hub/*.[ch]')
for f in $files; do
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
awk -v heads="$heads" '
    function module(path) { sub("[.][a-z]+$", "", path); return path }
    # Depth first; trail holds the way from the first module.
    function visit(m, depth,    i, k, n, others, circle) {
        state[m] = 1
        trail[depth] = m
        n = split(uses[m], others, " ")
        for (i = 1; i <= n; i++) {
            if (others[i] in is_head) continue
            if (!state[others[i]]) visit(others[i], depth + 1)
            else if (state[others[i]] == 1) {
                circle = others[i]
                for (k = depth; trail[k] != others[i]; k--) circle = trail[k] " -> " circle
                print "a circle of includes: " others[i] " -> " circle
                failed = 1
            }
        }
        state[m] = 2
    }
    # Marks the headers that a file pulls in; returns how many.
    function pull(path, mark,    i, n, others, count) {
        n = split(includes[path], others, " ")
        for (i = 1; i <= n; i++) {
            if (marked[others[i]] == mark) continue
            marked[others[i]] = mark
            count += 1 + pull(others[i], mark)
        }
        return count
    }
    # Whether `to` is reached from `from`.
    function reaches(from, to, mark,    i, n, others) {
        n = split(uses[from], others, " ")
        for (i = 1; i <= n; i++) {
            if (others[i] == to) return 1
            if (marked[others[i]] == mark) continue
            marked[others[i]] = mark
            if (reaches(others[i], to, mark)) return 1
        }
        return 0
    }
    BEGIN {
        n = split(heads, list, " ")
        for (i = 1; i <= n; i++) is_head[list[i]]
    }
    /^ *# *include *"/ {
        sub("^[^\"]*\"", ""); sub("\".*", "")
        from = module(FILENAME); to = module($0)
        if (from != to && !((from, to) in known)) { known[from, to]; uses[from] = uses[from] " " to }
        includes[FILENAME] = includes[FILENAME] " " $0
        modules[from]; modules[to]; files[FILENAME]; files[$0]
    }
    END {
        for (m in modules) if (!(m in is_head) && !state[m]) visit(m, 0)
        for (m in is_head) if (!reaches(m, m, "head " m)) { print m ": no circle goes through it; it is no head (tests/check_layers.sh)"; failed = 1 }
        for (f in files) {
            if (f !~ /[.]h$/) continue
            marked[f] = "of " f
            count = pull(f, "of " f)
            if (count > 12) { print f ": pulls in " count " headers of the project; a dozen are the limit"; failed = 1 }
        }
        exit failed
    }' $files || rc=1
[ $rc = 0 ] && echo "layers: every include points the right way"
exit $rc
