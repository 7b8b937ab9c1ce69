// floor starts containers with as little as the kernel asks for: what a C program
// needs from nothing to execve, and to the end of the process, is what hoy's start is
// measured against.
//
// Usage: floor FILE N. FILE, which the Go program beside this one writes, says what a
// container consists of, one line a thing:
//
//	lower DIR               the only lower layer of the overlay
//	scratch DIR             where upper and work directories are made
//	clone HEX               CLONE_NEW* flags
//	seccomp FILE            struct sock_filter[]
//	flags N                 of seccomp(2)
//	group v1|v2 DIR         a cgroup to be made and joined
//	set DIR/FILE VALUE      written into a cgroup after it was made
//	hostname NAME
//	mount TYPE ATTR PATH KEY=VALUE|KEY…
//	node NAME MAJOR:MINOR   a character device in /dev
//	link NAME TARGET        in /dev
//	mask PATH               a directory or file to be hidden
//	readonly PATH
//	caps HEX                bounding, permitted and effective
//	exec PATH
//
// It prints a line for each of N containers: microseconds until all is prepared for
// the clone, until exec, and until the process was reaped.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINES 64
struct mount { char type[16], path[64], options[8][64]; int count; unsigned attr; };
struct group { int v2, tasks; char dir[256]; };

static char lower[256], scratch[256], hostname[64], program[64];
static uint64_t namespaces, caps;
static struct sock_fprog filter;
static unsigned filter_flags;
static struct mount mounts[LINES];
static struct group groups[LINES];
static struct { char file[256], value[256]; } sets[LINES];
static struct { char name[32]; int major, minor; } nodes[LINES];
static struct { char name[32], target[64]; } links[LINES];
static struct { char path[256]; int dir; } masks[LINES];
static char readonlys[LINES][256];
static int nmounts, ngroups, nsets, nnodes, nlinks, nmasks, nreadonlys, last_cap;
static volatile int failed_line, failed_errno;

// CHECK ends the parent, TRY the child, when a call fails.
#define CHECK(call) ({ long r_ = (long)(call); if (r_ < 0) { \
	fprintf(stderr, "floor.c:%d: %s: %s\n", __LINE__, #call, strerror(errno)); exit(1); } r_; })
#define TRY(call) ({ long r_ = (long)(call); if (r_ < 0) { \
	failed_line = __LINE__; failed_errno = errno; _exit(97); } r_; })

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void load_filter(const char *path) {
	struct stat st;
	int fd = CHECK(open(path, O_RDONLY));
	CHECK(fstat(fd, &st));
	filter.filter = malloc(st.st_size);
	filter.len = st.st_size / sizeof *filter.filter;
	CHECK(read(fd, filter.filter, st.st_size));
	close(fd);
}

static void load(const char *path) {
	char line[1024], word[16];
	FILE *f = fopen(path, "r");
	if (!f) { perror(path); exit(1); }
	while (fgets(line, sizeof line, f)) {
		char a[256] = "", b[256] = "";
		if (sscanf(line, "%15s %255s %255s", word, a, b) < 2) continue;
#define IS(w) else if (!strcmp(word, w))
		if (0) ;
		IS("lower") strcpy(lower, a);
		IS("scratch") strcpy(scratch, a);
		IS("clone") namespaces = strtoull(a, 0, 16);
		IS("seccomp") load_filter(a);
		IS("flags") filter_flags = atoi(a);
		IS("group") { groups[ngroups].v2 = !strcmp(a, "v2"); strcpy(groups[ngroups++].dir, b); }
		IS("set") { strcpy(sets[nsets].file, a); strcpy(sets[nsets++].value, b); }
		IS("hostname") snprintf(hostname, sizeof hostname, "%s", a);
		IS("node") { snprintf(nodes[nnodes].name, 32, "%s", a); sscanf(b, "%d:%d", &nodes[nnodes].major, &nodes[nnodes].minor); nnodes++; }
		IS("link") { snprintf(links[nlinks].name, 32, "%s", a); snprintf(links[nlinks++].target, 64, "%s", b); }
		IS("mask") {
			struct stat st;
			if (!stat(a, &st)) { strcpy(masks[nmasks].path, a + 1); masks[nmasks++].dir = S_ISDIR(st.st_mode); }
		}
		IS("readonly") { if (!access(a, F_OK)) strcpy(readonlys[nreadonlys++], a + 1); }
		IS("caps") caps = strtoull(a, 0, 16);
		IS("exec") snprintf(program, sizeof program, "%s", a);
		IS("mount") {
			struct mount *m = &mounts[nmounts++];
			int used, at = 0;
			sscanf(line, "%*s %15s %u %63s%n", m->type, &m->attr, m->path, &at);
			while (sscanf(line + at, "%63s%n", m->options[m->count], &used) == 1) { at += used; m->count++; }
		}
		else { fprintf(stderr, "unknown line: %s", line); exit(1); }
	}
	fclose(f);
	f = fopen("/proc/sys/kernel/cap_last_cap", "r");
	if (!f || fscanf(f, "%d", &last_cap) != 1) last_cap = 40;
	if (f) fclose(f);
}

static int config(int fs, int cmd, const char *key, const char *value) {
	return syscall(SYS_fsconfig, fs, cmd, key, value, 0);
}

// new_mount returns a detached mount, -1 on failure.
static int new_mount(const struct mount *m) {
	int fs = syscall(SYS_fsopen, m->type, FSOPEN_CLOEXEC), fd;
	if (fs < 0) return -1;
	for (int i = 0; i < m->count; i++) {
		char key[64], *value;
		strcpy(key, m->options[i]);
		if ((value = strchr(key, '='))) *value++ = 0;
		if (config(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value) < 0) return -1;
	}
	if (config(fs, FSCONFIG_CMD_CREATE, NULL, NULL) < 0) return -1;
	fd = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, m->attr);
	close(fs);
	return fd;
}

static int move_to(int fd, int dir, const char *path) {
	return syscall(SYS_move_mount, fd, "", dir, path, MOVE_MOUNT_F_EMPTY_PATH);
}

static int copy_tree(int dir, const char *path, int flags) {
	return syscall(SYS_open_tree, dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

static int overlay(int i) {
	char upper[300], work[300];
	snprintf(upper, sizeof upper, "%s/u%d", scratch, i);
	snprintf(work, sizeof work, "%s/w%d", scratch, i);
	CHECK(mkdir(upper, 0755));
	CHECK(mkdir(work, 0755));
	int fs = CHECK(syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC));
	CHECK(config(fs, FSCONFIG_SET_STRING, "lowerdir", lower));
	CHECK(config(fs, FSCONFIG_SET_STRING, "upperdir", upper));
	CHECK(config(fs, FSCONFIG_SET_STRING, "workdir", work));
	CHECK(config(fs, FSCONFIG_CMD_CREATE, NULL, NULL));
	int fd = CHECK(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0));
	close(fs);
	return fd;
}

// dev returns a detached tmpfs with the device nodes and links in it.
static int dev(const struct mount *m) {
	int fd = CHECK(new_mount(m));
	mode_t mask = umask(0);
	for (int i = 0; i < nnodes; i++)
		CHECK(mknodat(fd, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
	for (int i = 0; i < nlinks; i++) CHECK(symlinkat(links[i].target, fd, links[i].name));
	for (int i = 0; i < nmounts; i++)
		if (!strncmp(mounts[i].path, "/dev/", 5)) CHECK(mkdirat(fd, mounts[i].path + 5, 0755));
	umask(mask);
	return fd;
}

static void write_file(const char *path, const char *value) {
	int fd = CHECK(open(path, O_WRONLY | O_CLOEXEC));
	CHECK(write(fd, value, strlen(value)));
	close(fd);
}

// make_groups returns a descriptor of the unified group, -1 for none.
static int make_groups(void) {
	char path[300];
	int unified = -1;
	for (int i = 0; i < ngroups; i++) CHECK(mkdir(groups[i].dir, 0755));
	for (int i = 0; i < nsets; i++) write_file(sets[i].file, sets[i].value);
	for (int i = 0; i < ngroups; i++) {
		if (groups[i].v2) {
			unified = CHECK(open(groups[i].dir, O_PATH | O_DIRECTORY | O_CLOEXEC));
			continue;
		}
		snprintf(path, sizeof path, "%s/tasks", groups[i].dir);
		groups[i].tasks = CHECK(open(path, O_WRONLY | O_CLOEXEC));
	}
	return unified;
}

static void remove_groups(int unified) {
	for (int i = 0; i < ngroups; i++) {
		if (!groups[i].v2) close(groups[i].tasks);
		while (rmdir(groups[i].dir) < 0 && errno == EBUSY) usleep(100);
	}
	if (unified >= 0) close(unified);
}

static void child_mounts(int root, int devfd) {
	TRY(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
	TRY(move_to(root, AT_FDCWD, "/"));
	for (int i = 0; i < nmounts; i++) {
		int fd = !strcmp(mounts[i].path, "/dev") ? devfd : TRY(new_mount(&mounts[i]));
		TRY(move_to(fd, root, mounts[i].path + 1));
	}
	int hidden = -1;
	static const struct mount empty = {"tmpfs", "", {{0}}, 0, MOUNT_ATTR_RDONLY};
	for (int i = 0; i < nmasks; i++) {
		int fd;
		if (!masks[i].dir) fd = TRY(copy_tree(devfd, "null", 0));
		else if (hidden < 0) fd = hidden = TRY(new_mount(&empty));
		else fd = TRY(copy_tree(hidden, "", AT_EMPTY_PATH));
		TRY(move_to(fd, root, masks[i].path));
	}
	for (int i = 0; i < nreadonlys; i++) {
		struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
		int fd = TRY(copy_tree(root, readonlys[i], AT_RECURSIVE));
		TRY(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr));
		TRY(move_to(fd, root, readonlys[i]));
	}
	TRY(fchdir(root));
	TRY(syscall(SYS_pivot_root, ".", "."));
	TRY(umount2(".", MNT_DETACH));
}

static void child_privileges(void) {
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {
		{caps & 0xffffffff, caps & 0xffffffff, 0}, {caps >> 32, caps >> 32, 0}};
	if (filter.len) TRY(syscall(SYS_seccomp, 1, filter_flags, &filter));
	for (int c = 0; c <= last_cap; c++)
		if (!(caps >> c & 1)) TRY(prctl(PR_CAPBSET_DROP, c, 0, 0, 0));
	TRY(syscall(SYS_setgroups, 0, NULL));
	TRY(syscall(SYS_capset, &header, data));
}

static int child(int root, int devfd, int null) {
	for (int i = 0; i < ngroups; i++)
		if (!groups[i].v2) TRY(write(groups[i].tasks, "0", 1));
	TRY(setsid());
	TRY(syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL));
	TRY(unshare(CLONE_NEWCGROUP));
	TRY(sethostname(hostname, strlen(hostname)));
	if (namespaces & CLONE_NEWNET) {
		struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
		TRY(ioctl(TRY(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)), SIOCSIFFLAGS, &lo));
	}
	child_mounts(root, devfd);
	for (int i = 0; i < 3; i++) TRY(dup3(null, i, 0));
	sigset_t none;
	sigemptyset(&none);
	TRY(sigprocmask(SIG_SETMASK, &none, NULL));
	TRY(syscall(SYS_close_range, 3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */));
	child_privileges();
	char *argv[] = {program, NULL}, *envp[] = {"PATH=/usr/bin:/bin", "HOME=/", NULL};
	TRY(execve(program, argv, envp));
	return 0;
}

struct job { int root, dev, null; };

static int run_child(void *arg) {
	struct job *j = arg;
	return child(j->root, j->dev, j->null);
}

// start makes the child, in the parent's memory and on a stack of its own, while the
// parent waits, as vfork has it. glibc has no clone3, so the switch is here: the child
// calls run_child on the stack that clone3 gave it.
static long start(struct clone_args *args, struct job *j) {
#if defined(__x86_64__)
	register long nr asm("rax") = SYS_clone3;
	register void *a0 asm("rdi") = args;
	register long a1 asm("rsi") = sizeof *args;
	register void *fn asm("r12") = run_child;
	register void *arg asm("r13") = j;
	asm volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\txor %%ebp, %%ebp\n\tmov %%r13, %%rdi\n\tcall *%%r12\n\thlt\n1:"
		: "+r"(nr) : "r"(a0), "r"(a1), "r"(fn), "r"(arg) : "rcx", "r11", "memory");
	return nr;
#elif defined(__aarch64__)
	register long nr asm("x8") = SYS_clone3;
	register long a0 asm("x0") = (long)args;
	register long a1 asm("x1") = sizeof *args;
	register void *fn asm("x19") = run_child;
	register void *arg asm("x20") = j;
	asm volatile("svc #0\n\tcbnz x0, 1f\n\tmov x29, #0\n\tmov x0, x20\n\tblr x19\n\tbrk #0\n1:"
		: "+r"(a0) : "r"(nr), "r"(a1), "r"(fn), "r"(arg) : "memory", "cc");
	return a0;
#endif
}

static void one(int i, char *stack, size_t size, int null) {
	double begin = now();
	int unified = make_groups(), root = overlay(i), devfd = -1, pidfd = -1;
	for (int k = 0; k < nmounts; k++)
		if (!strcmp(mounts[k].path, "/dev")) devfd = dev(&mounts[k]);
	struct job j = {root, devfd, null};
	struct clone_args args = {
		.flags = namespaces | CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
		.pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD, .stack = (uintptr_t)stack, .stack_size = size};
	if (unified >= 0) { args.flags |= CLONE_INTO_CGROUP; args.cgroup = unified; }
	sigset_t all, old;
	sigfillset(&all);
	double prepared = now();
	sigprocmask(SIG_SETMASK, &all, &old);
	long pid = start(&args, &j);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0) { errno = -pid; CHECK(-1); }
	double exec = now();
	siginfo_t info;
	CHECK(waitid(P_PIDFD, pidfd, &info, WEXITED));
	double reaped = now();
	if (info.si_code != CLD_EXITED || info.si_status != 0) {
		fprintf(stderr, "the child ended with %d at line %d: %s\n", info.si_status, failed_line, strerror(failed_errno));
		exit(1);
	}
	close(pidfd);
	close(root);
	close(devfd);
	remove_groups(unified);
	printf("%.1f %.1f %.1f\n", prepared - begin, exec - begin, reaped - begin);
}

int main(int argc, char **argv) {
	if (argc != 3) { fprintf(stderr, "usage: floor FILE N\n"); return 2; }
	load(argv[1]);
	size_t size = 1 << 18;
	char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED) { perror("mmap"); return 1; }
	int null = CHECK(open("/dev/null", O_RDWR | O_CLOEXEC));
	for (int i = 0; i < atoi(argv[2]); i++) one(i, stack, size, null);
	return 0;
}
