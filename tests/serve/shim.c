/* Faults between a process and the files below one directory, and a wall clock that is wrong.
 *
 * Preloaded. The directory is named by TOKENWEIR_SHIM_DIR, the control file, mapped and read at
 * each call, by TOKENWEIR_SHIM_CONTROL: what `struct control` says, changed while the process runs. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX 4096
#define SLICE_MS 5

struct control {
    volatile int sync_delay_ms; /* each sync takes so much longer */
    volatile int sync_failures; /* so many syncs fail; -1: all */
    volatile int sync_errno;    /* with this */
    volatile int write_errno;   /* what writes fail with; ENOSPC: only where a file would grow */
    volatile int clock_shift_s; /* the wall clock is wrong by so much */
    volatile int syncs;         /* counted: syncs asked for */
    volatile int faults;        /* counted: errors given */
};

static struct control none, *control = &none;
static const char *dir = "";
static size_t dir_bytes;
static volatile char ours[FDS_MAX];

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TOKENWEIR_SHIM_CONTROL");
    if (getenv("TOKENWEIR_SHIM_DIR")) dir = getenv("TOKENWEIR_SHIM_DIR");
    dir_bytes = strlen(dir);
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) control = mapped;
    syscall(SYS_close, fd);
}

#define REAL(result, name, ...)                                          \
    static result (*real)(__VA_ARGS__);                                  \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

static int is_ours(int fd) { return fd >= 0 && fd < FDS_MAX && ours[fd]; }

static int is_below(const char *path) {
    return dir_bytes > 0 && strncmp(path, dir, dir_bytes) == 0 && (path[dir_bytes] == '/' || !path[dir_bytes]);
}

static int fail(int error) {
    __sync_fetch_and_add(&control->faults, 1);
    errno = error;
    return -1;
}

/* The error of a write that ends at `end`, or 0. */
static int refusal(int fd, off_t end) {
    int error = is_ours(fd) ? control->write_errno : 0;
    struct stat now;
    if (error == ENOSPC && fstat(fd, &now) == 0 && end <= now.st_size) return 0;
    return error;
}

static int slow_sync(int fd, int (*real)(int)) {
    if (!is_ours(fd)) return real(fd);
    __sync_fetch_and_add(&control->syncs, 1);
    for (int waited_ms = 0; waited_ms < control->sync_delay_ms; waited_ms += SLICE_MS) {
        struct timespec slice = {0, SLICE_MS * 1000000L};
        nanosleep(&slice, NULL);
    }
    int failures = control->sync_failures;
    if (failures == 0) return real(fd);
    if (failures > 0) __sync_fetch_and_sub(&control->sync_failures, 1);
    return fail(control->sync_errno);
}

int fsync(int fd) { REAL(int, "fsync", int); return slow_sync(fd, real); }
int fdatasync(int fd) { REAL(int, "fdatasync", int); return slow_sync(fd, real); }

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
    int error = refusal(fd, at + (off_t)count);
    return error ? fail(error) : real(fd, bytes, count, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return pwrite(fd, bytes, count, at); }

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int error = is_ours(fd) ? refusal(fd, lseek(fd, 0, SEEK_CUR) + (off_t)count) : 0;
    return error ? fail(error) : real(fd, bytes, count);
}

int ftruncate(int fd, off_t size) {
    REAL(int, "ftruncate64", int, off_t);
    int error = refusal(fd, size);
    return error ? fail(error) : real(fd, size);
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int fallocate(int fd, int mode, off_t at, off_t count) {
    REAL(int, "fallocate64", int, int, off_t, off_t);
    int error = refusal(fd, at + count);
    return error ? fail(error) : real(fd, mode, at, count);
}
int fallocate64(int fd, int mode, off64_t at, off64_t count) { return fallocate(fd, mode, at, count); }

/* A file system that has become read-only gives no descriptor to write with. */
static int opened(int at, const char *path, int flags, mode_t mode) {
    int below = is_below(path);
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
    if (below && writes && control->write_errno == EROFS) return fail(EROFS);
    REAL(int, "openat64", int, const char *, int, ...);
    int fd = real(at, path, flags, mode);
    if (fd >= 0 && fd < FDS_MAX) ours[fd] = below;
    return fd;
}

#define MODE(flags)                                  \
    mode_t mode = 0;                                 \
    if (flags & (O_CREAT | __O_TMPFILE)) {           \
        va_list rest;                                \
        va_start(rest, flags);                       \
        mode = va_arg(rest, mode_t);                 \
        va_end(rest);                                \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }

int close(int fd) {
    REAL(int, "close", int);
    if (fd >= 0 && fd < FDS_MAX) ours[fd] = 0;
    return real(fd);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    return is_below(path) && control->write_errno == EROFS ? fail(EROFS) : real(path);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    int result = real(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += control->clock_shift_s;
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    REAL(int, "gettimeofday", struct timeval *, void *);
    int result = real(now, zone);
    if (result == 0) now->tv_sec += control->clock_shift_s;
    return result;
}
