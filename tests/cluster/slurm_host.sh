# A Slurm on this host, for a test, sourced behind common.sh: munged, slurmctld and three slurmd, all below $WORK, on free ports
# of 127.0.0.1; nothing of /etc is read or written. start_slurm sets SLURM_CONF for sbatch, squeue and scontrol.
export PATH=$PATH:/usr/sbin:/sbin

free_ports() { # COUNT
    python3 -c '
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in sockets])' "$1"
}

# cred_expire: a job that was requeued begins after that (by default two minutes; less than 5 counts as the default). CR_LLN spreads tasks over nodes.
write_slurm_conf() {
    local host ports user
    host=$(hostname -s) user=$(id -un) ports=($(free_ports 4))
    cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$WORK/munge/socket,cred_expire=6
StateSaveLocation=$WORK/state
SlurmdSpoolDir=$WORK/spool-%n
SlurmctldPidFile=$WORK/slurmctld.pid
SlurmdPidFile=$WORK/slurmd-%n.pid
SlurmctldLogFile=$WORK/log/slurmctld
SlurmdLogFile=$WORK/log/slurmd-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU,CR_LLN
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
SwitchType=switch/none
MpiDefault=none
JobRequeue=1
KillWait=2
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeHostName=$host NodeAddr=127.0.0.1 Port=${ports[1]} CPUs=2 State=UNKNOWN
NodeName=n2 NodeHostName=$host NodeAddr=127.0.0.1 Port=${ports[2]} CPUs=2 State=UNKNOWN
NodeName=n3 NodeHostName=$host NodeAddr=127.0.0.1 Port=${ports[3]} CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
}

until_true() { # COMMAND...
    local end=$((SECONDS + HANGS))
    until "$@"; do
        [ $SECONDS -lt $end ] || fail "never true: $*"
        sleep 0.2
    done
}

nodes_idle() { [ "$(sinfo -h -N -o %t 2>/dev/null | grep -c '^idle$')" = 3 ]; }

start_slurm() {
    need munged slurmctld slurmd sbatch
    export SLURM_CONF=$WORK/slurm.conf
    mkdir -m 711 "$WORK/munge"
    mkdir "$WORK/log" "$WORK/state"
    (umask 077 && head -c 1024 /dev/urandom >"$WORK/munge/key")
    write_slurm_conf
    munged --foreground --socket="$WORK/munge/socket" --key-file="$WORK/munge/key" --log-file="$WORK/munge/log" \
        --pid-file="$WORK/munge/pid" --seed-file="$WORK/munge/seed" >"$WORK/log/munged" 2>&1 &
    until_true test -S "$WORK/munge/socket"
    slurmctld -D -f "$SLURM_CONF" >"$WORK/log/slurmctld.out" 2>&1 &
    local n
    for n in 1 2 3; do slurmd -D -f "$SLURM_CONF" -N n$n >"$WORK/log/slurmd-n$n.out" 2>&1 & done
    until_true nodes_idle
}
