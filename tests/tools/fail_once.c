/* Fails one system call of a program, whichever library makes it: a seccomp filter hands every
 * call of one kind to a supervisor, which lets them through but for the N-th.
 *
 *   LD_PRELOAD=fail_once.so FAIL_CALL=openat FAIL_AT=3 FAIL_ERRNO=5 FAIL_COUNT=FILE program ...
 *
 * FAIL_AT counts from 1 over all threads, from the moment when the program's libraries are loaded;
 * 0 fails none. FAIL_COUNT gets the number of calls when the program has ended. FAIL_ABOVE=1 counts
 * only calls whose first argument is a descriptor above 2: messages on a terminal are left alone.
 * What the preloaded library did with FAIL_AT is forgotten by programs that are started in turn.
 *
 * Linux 5.5 or newer; seccomp(2), "SECCOMP_RET_USER_NOTIF". */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* One name stands for all calls that a library may choose for it. */
static const struct {
    const char *name;
    int numbers[4];
} calls[] = {
    {"openat", {__NR_openat, -1}},
    {"stat", {__NR_newfstatat, __NR_fstat, __NR_statx, -1}},
    {"read", {__NR_read, -1}},
    {"pread", {__NR_pread64, -1}},
    {"write", {__NR_write, __NR_writev, -1}},
    {"pwrite", {__NR_pwrite64, -1}},
    {"fsync", {__NR_fsync, __NR_fdatasync, -1}},
    {"rename",
     {__NR_renameat, __NR_renameat2,
#ifdef __NR_rename
      __NR_rename,
#endif
      -1}},
    {"link",
     {__NR_linkat,
#ifdef __NR_link
      __NR_link,
#endif
      -1}},
    {"mkdir",
     {__NR_mkdirat,
#ifdef __NR_mkdir
      __NR_mkdir,
#endif
      -1}},
    {"unlink",
     {__NR_unlinkat,
#ifdef __NR_unlink
      __NR_unlink, __NR_rmdir,
#endif
      -1}},
    {"getdents", {__NR_getdents64, -1}},
    {"mmap", {__NR_mmap, -1}},
    {"munmap", {__NR_munmap, -1}},
    {"ftruncate", {__NR_ftruncate, -1}},
    {"flock", {__NR_flock, -1}},
    {"close", {__NR_close, -1}},
    {"clone", {__NR_clone, __NR_clone3, -1}},
    {"getrandom", {__NR_getrandom, -1}},
};

static void stop(const char *what)
{
    fprintf(stderr, "fail_once: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static int install(const int *numbers)
{
    struct sock_filter code[16];
    unsigned short n = 0, count = 0;
    while (numbers[count] >= 0) count++;
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned short i = 0; i < count; i++)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)numbers[i],
                                                 (unsigned char)(count - i), 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = {n, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) stop("no_new_privs");
    int listener = (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
                                SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0) stop("seccomp");
    return listener;
}

/* The supervisor: a process of its own, in no filter, until the last watched thread is gone. */
static void supervise(int listener, long fail_at, int error, int only_above, const char *report)
{
    long count = 0;
    for (;;) {
        struct pollfd p = {.fd = listener, .events = POLLIN};
        if (poll(&p, 1, -1) < 0 && errno == EINTR) continue;
        if (!(p.revents & POLLIN)) break;
        struct seccomp_notif call = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;
        if (!only_above || (int)call.data.args[0] > 2) count++;
        struct seccomp_notif_resp answer = {.id = call.id,
                                            .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        if (count == fail_at && error) {
            answer.flags = 0;
            answer.error = -error;
            fail_at = 0;
        }
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    FILE *f = report ? fopen(report, "w") : NULL;
    if (f) fprintf(f, "%ld\n", count), fclose(f);
    _exit(0);
}

static void send_descriptor(int to, int fd)
{
    char byte = 0, control[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec v = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *c = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    if (sendmsg(to, &m, 0) != 1) stop("sendmsg");
}

static int receive_descriptor(int from)
{
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec v = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int fd;
    if (recvmsg(from, &m, 0) != 1 || !CMSG_FIRSTHDR(&m)) _exit(125);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    return fd;
}

__attribute__((constructor)) static void start(void)
{
    const char *name = getenv("FAIL_CALL"), *at = getenv("FAIL_AT"), *number = getenv("FAIL_ERRNO");
    const char *report = getenv("FAIL_COUNT"), *above = getenv("FAIL_ABOVE");
    const int *numbers = NULL;
    int pair[2];
    if (!name) return;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (!strcmp(calls[i].name, name)) numbers = calls[i].numbers;
    errno = EINVAL;
    if (!numbers) stop(name);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) stop("socketpair");
    pid_t child = fork(), grandchild = 0;
    if (child < 0) stop("fork");
    if (child == 0) { /* a grandchild: the program has no child that it did not start */
        if ((grandchild = fork()) != 0) _exit(grandchild < 0);
        int listener = receive_descriptor(pair[1]);
        close(pair[0]);
        for (int fd = 0; fd < 3; fd++) close(fd); /* whoever waits for the program's output */
        supervise(listener, at ? atol(at) : 0, number ? atoi(number) : 0, above && *above == '1',
                  report);
    }
    waitpid(child, NULL, 0);
    close(pair[1]);
    int listener = install(numbers);
    send_descriptor(pair[0], listener);
    /* "close" may be what is watched: both stay open, above all that the program opens. */
    unsetenv("LD_PRELOAD");
    unsetenv("FAIL_CALL");
}
