/* Shifts the wall clock of a process and of its children by SHIFT_SECONDS. For LD_PRELOAD; see test-clock.
 *
 * Monotonic clocks, sleeps and file times are not shifted. libfaketime 0.9.10, the version in Debian 12, cannot do this
 * for Python 3.11: if it does not shift the monotonic clock, time.sleep() fails (it sleeps until an instant of that
 * clock), and if it does, a lock waits as long as the shift (libfaketime does not support sem_clockwait()).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <semaphore.h>
#include <sys/time.h>
#include <time.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI)) {
        now->tv_sec += SHIFT_SECONDS;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int result = REAL(gettimeofday)(now, zone);
    if (result == 0) {
        now->tv_sec += SHIFT_SECONDS;
    }
    return result;
}

time_t time(time_t *now) {
    struct timespec shifted;
    clock_gettime(CLOCK_REALTIME, &shifted);
    if (now) {
        *now = shifted.tv_sec;
    }
    return shifted.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    int result = REAL(timespec_get)(now, base);
    if (result == TIME_UTC) {
        now->tv_sec += SHIFT_SECONDS;
    }
    return result;
}

/* The caller computed the instant from the shifted clock; the kernel compares it with the true one. */
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
    struct timespec real = {until->tv_sec - SHIFT_SECONDS, until->tv_nsec};
    return REAL(sem_timedwait)(semaphore, &real);
}
