/* Preloaded into a measured server: a disk that takes longer to sync, and a count of all syncs.
 *
 * BENCH_SYNC_MS=N      each fsync and fdatasync takes so many milliseconds more
 * BENCH_SYNCS=FILE     each of them adds one byte to FILE
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void slow(void) {
  const char *asked = getenv("BENCH_SYNC_MS"), *file = getenv("BENCH_SYNCS");
  double ms = asked ? atof(asked) : 0;
  struct timespec pause = {(time_t)(ms / 1000), (long)((ms - 1000 * (long)(ms / 1000)) * 1e6)};
  if (ms > 0) nanosleep(&pause, NULL);
  if (file) {
    int noted = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (noted >= 0) { ssize_t one = write(noted, ".", 1); (void)one; close(noted); }
  }
}

int fsync(int descriptor) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  slow();
  return real(descriptor);
}

int fdatasync(int descriptor) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  slow();
  return real(descriptor);
}
