/* The wall clock of one program, days ahead (or behind): preloaded by `.ci/ahead`, so that a date which will come true
 * fails a test before its day.
 *
 * TOKENWEIR_TEST_DAYS_AHEAD says how many days. Only the time of day is moved; CLOCK_MONOTONIC is not, so waits are as
 * long as they are. Where a wait ends at a time of day (condition variables of C code do), the caller got it from the
 * moved clock, and the kernel waits by the true one: such deadlines are moved back, or they would last for all those days. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, #name)

static time_t offset_s(void) {
    static int known;
    static time_t offset;
    if (!known) {
        const char *days = getenv("TOKENWEIR_TEST_DAYS_AHEAD");
        offset = days ? atol(days) * 86400 : 0;
        known = 1;
    }
    return offset;
}

static int is_time_of_day(clockid_t id) { return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE; }

int clock_gettime(clockid_t id, struct timespec *out) {
    NEXT(clock_gettime);
    int result = next(id, out);
    if (result == 0 && is_time_of_day(id)) out->tv_sec += offset_s();
    return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    NEXT(gettimeofday);
    int result = next(out, zone);
    if (result == 0) out->tv_sec += offset_s();
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *out, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, out) == 0 ? base : 0;
}

/* The deadline by the true clock. One that is nowhere near the moved clock is of another clock (a condition variable may
 * count from the machine's start), and stays. */
static struct timespec true_deadline(const struct timespec *deadline) {
    struct timespec moved, result = *deadline;
    clock_gettime(CLOCK_REALTIME, &moved);
    time_t away = labs(deadline->tv_sec - moved.tv_sec);
    if (away < labs(offset_s()) / 2) result.tv_sec -= offset_s();
    return result;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    NEXT(pthread_cond_timedwait);
    struct timespec real = true_deadline(deadline);
    return next(cond, mutex, &real);
}

int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, clockid_t clock,
                           const struct timespec *restrict deadline) {
    NEXT(pthread_cond_clockwait);
    struct timespec real = is_time_of_day(clock) ? true_deadline(deadline) : *deadline;
    return next(cond, mutex, clock, &real);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict deadline) {
    NEXT(cnd_timedwait);
    struct timespec real = true_deadline(deadline);
    return next(cond, mutex, &real);
}

int mtx_timedlock(mtx_t *restrict mutex, const struct timespec *restrict deadline) {
    NEXT(mtx_timedlock);
    struct timespec real = true_deadline(deadline);
    return next(mutex, &real);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict deadline) {
    NEXT(pthread_mutex_timedlock);
    struct timespec real = true_deadline(deadline);
    return next(mutex, &real);
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict deadline) {
    NEXT(sem_timedwait);
    struct timespec real = true_deadline(deadline);
    return next(sem, &real);
}
