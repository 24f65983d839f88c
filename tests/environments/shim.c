/* Preloaded into a command: a user without a home, folders that cannot be written, no locks, no shared memory,
 * a clock that is set, time that passes, a disk that is full.
 * ENV_HOME=FOLDER     the home that the password file names; empty: the user is in no password file
 * ENV_READONLY=A:B    nothing below A and B can be made or written (EROFS); "A/" with a star: directly in A
 * ENV_NO_LOCKS=1      the file system knows no locks (ENOLCK)
 * ENV_NO_SHARED=1     no file can be mapped into memory that others see (ENODEV)
 * ENV_CLOCK=FILE      the seconds in FILE are added to the wall clock, read anew all the time
 * ENV_TICKS=FILE      the same for the monotonic clocks: both together are time that passes
 * ENV_FULL=FILE       while FILE exists, regular files below ENV_FULL_UNDER take no more bytes (ENOSPC)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int protected(int at, const char *path) {
  const char *all = getenv("ENV_READONLY"), *next; char link[64], whole[PATH_MAX * 2] = ""; ssize_t n; size_t length;
  if (!all || !path) return 0;
  if (path[0] != '/') {
    if (at == AT_FDCWD) { if (!getcwd(whole, PATH_MAX)) return 0; }
    else { snprintf(link, sizeof link, "/proc/self/fd/%d", at); n = readlink(link, whole, PATH_MAX); if (n < 0) return 0; whole[n] = 0; }
    strcat(whole, "/");
  }
  strncat(whole, path, PATH_MAX - 1);
  for (; all && *all; all = next ? next + 1 : 0) {
    next = strchr(all, ':'); length = next ? (size_t)(next - all) : strlen(all);
    if (length > 2 && all[length - 1] == '*') {
      if (!strncmp(whole, all, length - 1) && !strchr(whole + length - 1, '/')) { errno = EROFS; return 1; }
      continue;
    }
    if (length && !strncmp(whole, all, length) && (!whole[length] || whole[length] == '/')) { errno = EROFS; return 1; }
  }
  return 0;
}
#define WRITES(flags) ((flags) & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC))
#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list v; va_start(v, flags); mode = va_arg(v, mode_t); va_end(v); }
int open(const char *p, int flags, ...) { REAL(open); MODE return WRITES(flags) && protected(AT_FDCWD, p) ? -1 : real(p, flags, mode); }
int open64(const char *p, int flags, ...) { REAL(open64); MODE return WRITES(flags) && protected(AT_FDCWD, p) ? -1 : real(p, flags, mode); }
int openat(int at, const char *p, int flags, ...) { REAL(openat); MODE return WRITES(flags) && protected(at, p) ? -1 : real(at, p, flags, mode); }
int openat64(int at, const char *p, int flags, ...) { REAL(openat64); MODE return WRITES(flags) && protected(at, p) ? -1 : real(at, p, flags, mode); }
int mkdir(const char *p, mode_t m) { REAL(mkdir); return protected(AT_FDCWD, p) ? -1 : real(p, m); }
int mkdirat(int at, const char *p, mode_t m) { REAL(mkdirat); return protected(at, p) ? -1 : real(at, p, m); }
int rename(const char *a, const char *b) { REAL(rename); return protected(AT_FDCWD, b) ? -1 : real(a, b); }
int renameat(int x, const char *a, int y, const char *b) { REAL(renameat); return protected(y, b) ? -1 : real(x, a, y, b); }
int link(const char *a, const char *b) { REAL(link); return protected(AT_FDCWD, b) ? -1 : real(a, b); }
int linkat(int x, const char *a, int y, const char *b, int f) { REAL(linkat); return protected(y, b) ? -1 : real(x, a, y, b, f); }
int unlink(const char *p) { REAL(unlink); return protected(AT_FDCWD, p) ? -1 : real(p); }
int unlinkat(int at, const char *p, int f) { REAL(unlinkat); return protected(at, p) ? -1 : real(at, p, f); }
int access(const char *p, int mode) { REAL(access); return mode & W_OK && protected(AT_FDCWD, p) ? -1 : real(p, mode); }

static int locks(int command) {
  if (!getenv("ENV_NO_LOCKS")) return 0;
  if (command != F_SETLK && command != F_SETLKW && command != F_GETLK && command != F_OFD_SETLK && command != F_OFD_SETLKW) return 0;
  errno = ENOLCK; return 1;
}
#define ARGUMENT va_list v; va_start(v, command); void *argument = va_arg(v, void *); va_end(v);
int fcntl(int fd, int command, ...) { REAL(fcntl); ARGUMENT return locks(command) ? -1 : real(fd, command, argument); }
int fcntl64(int fd, int command, ...) { REAL(fcntl64); ARGUMENT return locks(command) ? -1 : real(fd, command, argument); }
int flock(int fd, int operation) { REAL(flock); if (getenv("ENV_NO_LOCKS")) { errno = ENOLCK; return -1; } return real(fd, operation); }

static int shared(int flags, int fd) { if (!getenv("ENV_NO_SHARED") || fd < 0 || (flags & MAP_TYPE) != MAP_SHARED) return 0; errno = ENODEV; return 1; }
void *mmap(void *a, size_t n, int p, int flags, int fd, off_t o) { REAL(mmap); return shared(flags, fd) ? MAP_FAILED : real(a, n, p, flags, fd, o); }
void *mmap64(void *a, size_t n, int p, int flags, int fd, off64_t o) { REAL(mmap64); return shared(flags, fd) ? MAP_FAILED : real(a, n, p, flags, fd, o); }

static struct passwd user;
static int named(void) { const char *home = getenv("ENV_HOME"); if (!home) return 0; user = (struct passwd){"somebody", "x", getuid(), getgid(), "", (char *)home, "/bin/sh"}; return *home ? 1 : -1; }
struct passwd *getpwuid(uid_t u) { REAL(getpwuid); int n = named(); errno = 0; return n ? (n > 0 ? &user : 0) : real(u); }
int getpwuid_r(uid_t u, struct passwd *p, char *b, size_t n, struct passwd **out) {
  REAL(getpwuid_r); int known = named(); if (!known) return real(u, p, b, n, out);
  *p = user; *out = known > 0 ? p : 0; return 0;
}

#define READ_EVERY 20 /* milliseconds */
static double ahead(int which) { /* 0: the wall clock, 1: the monotonic ones */
  static __thread int inside; static double now[2]; static long read_at[2]; static int (*clock)(clockid_t, struct timespec *);
  const char *file = getenv(which ? "ENV_TICKS" : "ENV_CLOCK"); char said[64]; struct timespec t; long ms; int d; ssize_t n;
  if (!file || inside) return now[which];
  inside = 1;
  if (!clock) clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  clock(CLOCK_MONOTONIC, &t); ms = t.tv_sec * 1000 + t.tv_nsec / 1000000;
  if (!read_at[which] || ms - read_at[which] > READ_EVERY) {
    read_at[which] = ms; d = open(file, O_RDONLY | O_CLOEXEC);
    if (d >= 0) { n = read(d, said, sizeof said - 1); close(d); if (n > 0) { said[n] = 0; now[which] = atof(said); } }
  }
  inside = 0; return now[which];
}
int clock_gettime(clockid_t c, struct timespec *t) {
  REAL(clock_gettime); int result = real(c, t); if (result) return result;
  if (c == CLOCK_REALTIME || c == CLOCK_REALTIME_COARSE) t->tv_sec += (time_t)ahead(0);
  if (c == CLOCK_MONOTONIC || c == CLOCK_MONOTONIC_COARSE || c == CLOCK_BOOTTIME) t->tv_sec += (time_t)ahead(1);
  return 0;
}
int gettimeofday(struct timeval *restrict t, void *restrict z) { struct timespec s; (void)z; int r = clock_gettime(CLOCK_REALTIME, &s); t->tv_sec = s.tv_sec; t->tv_usec = s.tv_nsec / 1000; return r; }
time_t time(time_t *t) { struct timespec s; clock_gettime(CLOCK_REALTIME, &s); if (t) *t = s.tv_sec; return s.tv_sec; }

static int full(int fd) {
  const char *file = getenv("ENV_FULL"), *under = getenv("ENV_FULL_UNDER"); char link[64], whole[PATH_MAX]; struct stat s; ssize_t n;
  if (!file || !under || fd < 3 || faccessat(AT_FDCWD, file, F_OK, 0) || fstat(fd, &s) || !S_ISREG(s.st_mode)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd); n = readlink(link, whole, sizeof whole - 1); if (n < 0) return 0;
  whole[n] = 0; if (strncmp(whole, under, strlen(under))) return 0;
  errno = ENOSPC; return 1;
}
ssize_t write(int fd, const void *b, size_t n) { REAL(write); return full(fd) ? -1 : real(fd, b, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { REAL(pwrite); return full(fd) ? -1 : real(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { REAL(pwrite64); return full(fd) ? -1 : real(fd, b, n, o); }
ssize_t writev(int fd, const struct iovec *v, int n) { REAL(writev); return full(fd) ? -1 : real(fd, v, n); }
ssize_t sendfile(int to, int from, off_t *o, size_t n) { REAL(sendfile); return full(to) ? -1 : real(to, from, o, n); }
ssize_t sendfile64(int to, int from, off64_t *o, size_t n) { REAL(sendfile64); return full(to) ? -1 : real(to, from, o, n); }
