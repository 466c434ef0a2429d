# For the scripts of this folder, which source it: a run to share, what it must become, and an end that leaves nobody behind.
#
# What a script starts carries QK_CLUSTER_TEST in its environment, and so does whatever that starts: daemons, steps, ranks.
# However the script ends, those processes are ended, by number, and its folder goes.
set -u
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
RECIPES=$ROOT/configs/cluster
WORK=$(mktemp -d "${TMPDIR:-/tmp}/qkcluster.XXXXXX") || exit 1
chmod 711 "$WORK" # munge's socket must be reached by all
export QK_CLUSTER_TEST=$WORK QKENGINE_CACHE=off PATH="$ROOT:$PATH"
HANGS=300 # seconds, however busy the machine is; nothing else here depends on the clock

# Numbers of those processes; the mark is not on those who look. A step of Slurm writes its title over its environment, and is known
# by a file that it has open in the folder.
marked() (
    unset QK_CLUSTER_TEST
    {
        grep -lazsF "QK_CLUSTER_TEST=$WORK" /proc/[0-9]*/environ
        for step in $(pgrep -x slurmstepd); do
            readlink "/proc/$step/cwd" /proc/"$step"/fd/* | grep -qF "$WORK/" && echo "/proc/$step/"
        done
    } 2>/dev/null | cut -d/ -f3
)

# Ends all that was started; those that do not listen within five seconds, without asking.
clean_up() {
    trap '' INT TERM HUP
    local i pids
    for i in $(seq 50); do
        pids=$(marked)
        [ -z "$pids" ] && break
        [ "$i" = 1 ] && kill -CONT $pids 2>/dev/null
        [ $((i % 10)) = 1 ] && kill -TERM $pids 2>/dev/null
        sleep 0.1
    done
    for i in $(seq 50); do
        pids=$(marked)
        [ -z "$pids" ] && break
        kill -KILL $pids 2>/dev/null
        sleep 0.1
    done
    [ -z "$(marked)" ] || echo "FAILED $NAME: these cannot be ended:" $(marked)
    rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
    echo "FAILED $NAME: $*"
    tail -n 25 "$WORK"/*.log "$WORK"/log/* 2>/dev/null
    exit 1
}

# Programs that must be there; exit status 77 is a skip.
need() {
    for program; do
        command -v "$program" >/dev/null || { echo "SKIPPED $NAME: there is no $program"; exit 77; }
    done
}

# A model, 50 texts of one unit each, some hundredths of a second of work each, and the digest of what one process makes of them.
make_run() {
    cp -r "$ROOT/tests/data/capture/case1_llama_log_uniform/model" "$WORK/model"
    python3 -c '
import json, sys
for line in open(sys.argv[1], encoding="utf-8"):
    print(json.dumps({"text": " ".join([json.loads(line)["text"]] * 10)}))' "$ROOT/tests/demo/texts.jsonl" >"$WORK/texts.jsonl"
    cat >"$WORK/run.yaml" <<END
dataset: {path: $WORK/texts.jsonl, max_samples: 50}
model: {name: $WORK/model}
tokenizer: {max_length: 131072}
inference: {backend: ref, threads: 1}
capture: {sampler: {type: uniform, base_rate: 4.0}, min_bucket_size: 16}
output: {data_root: $WORK/out}
END
    timeout $HANGS qkengine run "$WORK/run.yaml" --quiet --set output.data_root="$WORK/alone" || fail "one process alone"
    EXPECTED=$(tree "$WORK/alone/final")
}

# The SHA-256 of the digests of all files.
tree() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1); }

# Until so many processes have had a unit in all, counted since the start; all of them stand still then. See gather.py. A signal ends
# a `wait`, and what is not waited for so only when it is over.
gather() { # COUNT [PID-OF-THE-LAUNCHER]
    python3 "$ROOT/tests/cluster/gather.py" "$WORK/out/staging" "$1" "${2:-0}" "$WORK/held" &
    wait $! || fail "not $1 processes at work"
}

held() { sed -n "$1p" "$WORK/held" | cut -d' ' -f"${2:-1}"; } # held 3: the third's number; held 3 2: its job

release() { cut -d' ' -f1 "$WORK/held" | xargs kill -CONT 2>/dev/null; }

# The launcher's end, which must be good.
ended() {
    wait "$1"
    local rc=$?
    [ $rc = 0 ] || fail "the launcher ended with $rc"
}

# The folder is that of one process, and nobody has left a claim.
finish() {
    local got left
    got=$(tree "$WORK/out/final" 2>/dev/null)
    [ "$got" = "$EXPECTED" ] || fail "final/ is $got, of one process $EXPECTED"
    qkengine status "$WORK/out" | grep -q finished || fail "status does not say that it is finished: $(qkengine status "$WORK/out")"
    left=$(cd "$WORK/out/staging" && ls | grep -vE '^(builds|lock)$')
    [ -z "$left" ] || fail "left in staging: $left"
    echo "ok $NAME: $* (tree ${got:0:12}, as of one process)"
}
