/* Clocks that jump: shifts what a process sees of the system's clocks by the offsets in $FAULTS_CLOCK.

   Absolute deadlines that the process gives to the kernel are shifted back. Otherwise a thread that waits until a time
   on a shifted clock would never sleep, or sleep too long. */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>
#include <time.h>

static const int64_t SECOND = 1000000000;

/* Nanoseconds. clock.py writes them. The last suspend took `suspended` and ended at `resumed` by CLOCK_BOOTTIME. */
struct offsets {
    _Atomic int64_t realtime, monotonic, boottime;
    _Atomic int64_t resumed, suspended;
};

static struct offsets none;
static struct offsets *offsets = &none;

__attribute__((constructor)) static void start(void) {
    struct offsets *mapped = map_control("FAULTS_CLOCK", sizeof *mapped);
    if (mapped)
        offsets = mapped;
}

static int64_t offset(clockid_t clock) {
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return atomic_load_explicit(&offsets->realtime, memory_order_relaxed);
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
        return atomic_load_explicit(&offsets->monotonic, memory_order_relaxed);
    case CLOCK_BOOTTIME:
        return atomic_load_explicit(&offsets->boottime, memory_order_relaxed);
    default:
        return 0;
    }
}

static struct timespec shifted(const struct timespec *time, int64_t by) {
    int64_t second = time->tv_sec + by / SECOND, rest = time->tv_nsec + by % SECOND;
    if (rest < 0)
        second--, rest += SECOND;
    else if (rest >= SECOND)
        second++, rest -= SECOND;
    return second < 0 ? (struct timespec){0, 0} : (struct timespec){second, rest};
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = REAL(clock_gettime)(clock, time);
    int64_t by = offset(clock);
    if (by && !failed)
        *time = shifted(time, by);
    return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    int failed = REAL(gettimeofday)(time, zone);
    int64_t by = offset(CLOCK_REALTIME);
    if (by && !failed) {
        struct timespec now = {time->tv_sec, time->tv_usec * 1000};
        now = shifted(&now, by);
        *time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    }
    return failed;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}

static bool is_ahead(clockid_t clock, const struct timespec *deadline) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec < deadline->tv_sec || (now.tv_sec == deadline->tv_sec && now.tv_nsec < deadline->tv_nsec);
}

/* Calls wait(deadline in the kernel's time) until it ends for another reason than the time, or the deadline has come by
   the shifted clock: that one may have jumped meanwhile. */
#define UNTIL(clock, deadline, wait, timed_out)                                                                        \
    for (;;) {                                                                                                         \
        struct timespec kernel_time = shifted(deadline, -offset(clock));                                               \
        int result = wait;                                                                                             \
        if (!(timed_out) || !offset(clock) || !is_ahead(clock, deadline))                                              \
            return result;                                                                                             \
    }

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *request, struct timespec *remaining) {
    if (!(flags & TIMER_ABSTIME))
        return REAL(clock_nanosleep)(clock, flags, request, remaining);
    UNTIL(clock, request, REAL(clock_nanosleep)(clock, flags, &kernel_time, remaining), result == 0)
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict deadline) {
    UNTIL(clock, deadline, REAL(sem_clockwait)(semaphore, clock, &kernel_time), result != 0 && errno == ETIMEDOUT)
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    return sem_clockwait(semaphore, CLOCK_REALTIME, deadline);
}

int pthread_cond_clockwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, clockid_t clock,
                           const struct timespec *restrict deadline) {
    UNTIL(clock, deadline, REAL(pthread_cond_clockwait)(condition, mutex, clock, &kernel_time), result == ETIMEDOUT)
}

/* Bit 1 of glibc's __wrefs tells the clock of a condition variable. */
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    clockid_t clock = condition->__data.__wrefs & 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
    return pthread_cond_clockwait(condition, mutex, clock, deadline);
}

int pthread_mutex_clocklock(pthread_mutex_t *restrict mutex, clockid_t clock,
                            const struct timespec *restrict deadline) {
    UNTIL(clock, deadline, REAL(pthread_mutex_clocklock)(mutex, clock, &kernel_time), result == ETIMEDOUT)
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict deadline) {
    return pthread_mutex_clocklock(mutex, CLOCK_REALTIME, deadline);
}

/* Returns an age in milliseconds without the suspend that it spans. */
static uint32_t awake(uint32_t age) {
    struct timespec now;
    REAL(clock_gettime)(CLOCK_BOOTTIME, &now);
    int64_t since = (now.tv_sec * SECOND + now.tv_nsec - offsets->resumed) / 1000000;
    int64_t suspended = offsets->suspended / 1000000;
    if (age <= since)
        return age;
    return age - since < suspended ? since : age - suspended;
}

/* The ages in TCP_INFO are of the kernel's timer, which stands still in a suspend like CLOCK_MONOTONIC. */
int getsockopt(int fd, int level, int option, void *restrict value, socklen_t *restrict size) {
    int failed = REAL(getsockopt)(fd, level, option, value, size);
    if (failed || level != IPPROTO_TCP || option != TCP_INFO || !offsets->suspended)
        return failed;
    struct tcp_info *info = value;
    if (*size >= offsetof(struct tcp_info, tcpi_last_ack_recv)) {
        info->tcpi_last_data_sent = awake(info->tcpi_last_data_sent);
        info->tcpi_last_data_recv = awake(info->tcpi_last_data_recv);
    }
    if (*size >= offsetof(struct tcp_info, tcpi_pmtu))
        info->tcpi_last_ack_recv = awake(info->tcpi_last_ack_recv);
    return 0;
}
