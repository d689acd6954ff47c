/* A disk that fails: errors, delays and kills around the writes and syncs of files below $FAULTS_DISK_DIRECTORY.

   $FAULTS_DISK is the control file. The shim also notes there what is durable, as the kernel has promised it: a power
   cut may take the rest. */
#define _GNU_SOURCE
#include "journal.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/uio.h>
#include <time.h>

#define DESCRIPTORS 65536
enum { UNKNOWN, OTHER, FIRST_SLOT };

/* What is known of each descriptor, so that writes to sockets and pipes cost a load. A copy in each process. */
static _Atomic uint16_t known[DESCRIPTORS];

__attribute__((constructor)) static void start(void) { start_journal(); }

static void forget(int fd) {
    if (fd >= 0 && fd < DESCRIPTORS && known[fd] != UNKNOWN)
        known[fd] = UNKNOWN;
}

/* Returns the slot of a watched file or directory, and its status; NULL for any other descriptor. */
static struct slot *watched(int fd, struct stat *status) {
    if (!control || fd < 0)
        return NULL;
    unsigned before = fd < DESCRIPTORS ? atomic_load_explicit(&known[fd], memory_order_relaxed) : UNKNOWN;
    if (before == OTHER)
        return NULL;
    int error = errno;
    struct slot *slot = NULL;
    if (!fstat(fd, status)) {
        slot = before == UNKNOWN ? NULL : &control->slots[before - FIRST_SLOT];
        if (!slot || slot->key != key_of(status)) {
            slot = find(fd, status, false);
            if (fd < DESCRIPTORS)
                known[fd] = slot ? slot - control->slots + FIRST_SLOT : OTHER;
        }
    }
    errno = error;
    return slot;
}

static bool fires(struct slot *slot, enum point point) {
    if (control->point != point || !slot->counted || atomic_fetch_sub(&control->countdown, 1) != 1)
        return false;
    control->point = NOWHERE;
    control->fired = getpid();
    return true;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void die_at(struct slot *slot, enum point point) {
    if (fires(slot, point))
        die();
}

/* Takes up to size bytes of what may still be written; none when it is spent. */
static size_t spend(size_t size) {
    uint64_t left = control->budget, taken;
    do
        taken = size < left ? size : left;
    while (!atomic_compare_exchange_weak(&control->budget, &left, left - taken));
    return taken;
}

/* Writes the first bytes of the vectors, at an offset or, if that is negative, where the file stands. */
static ssize_t write_some(int fd, const struct iovec *vectors, int count, size_t size, off_t at) {
    struct iovec some[IOV_MAX];
    int used = 0;
    for (; used < count && used < IOV_MAX && (size > 0 || used == 0); used++) {
        some[used] = vectors[used];
        if (some[used].iov_len > size)
            some[used].iov_len = size;
        size -= some[used].iov_len;
    }
    return at < 0 ? REAL(writev)(fd, some, used) : REAL(pwritev)(fd, some, used, at);
}

static ssize_t write_watched(struct slot *slot, int fd, const struct iovec *vectors, int count, off_t at) {
    size_t size = 0;
    for (int n = 0; n < count; n++)
        size += vectors[n].iov_len;
    die_at(slot, BEFORE_WRITE);
    if (fires(slot, DURING_WRITE)) {
        write_some(fd, vectors, count, size / 2, at);
        die();
    }
    int error = control->write_error;
    if (error && size > 0) {
        size_t room = spend(size);
        control->hits += room < size;
        if (!(size = room)) {
            errno = error;
            return -1;
        }
    }
    ssize_t written = write_some(fd, vectors, count, size, at);
    die_at(slot, AFTER_WRITE);
    return written;
}

ssize_t write(int fd, const void *data, size_t size) {
    struct stat status;
    struct slot *slot = watched(fd, &status);
    if (!slot)
        return REAL(write)(fd, data, size);
    return write_watched(slot, fd, &(struct iovec){(void *)data, size}, 1, -1);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    struct stat status;
    struct slot *slot = watched(fd, &status);
    if (!slot)
        return REAL(pwrite)(fd, data, size, at);
    return write_watched(slot, fd, &(struct iovec){(void *)data, size}, 1, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return pwrite(fd, data, size, at); }

ssize_t writev(int fd, const struct iovec *vectors, int count) {
    struct stat status;
    struct slot *slot = watched(fd, &status);
    return slot ? write_watched(slot, fd, vectors, count, -1) : REAL(writev)(fd, vectors, count);
}

ssize_t pwritev(int fd, const struct iovec *vectors, int count, off_t at) {
    struct stat status;
    struct slot *slot = watched(fd, &status);
    return slot ? write_watched(slot, fd, vectors, count, at) : REAL(pwritev)(fd, vectors, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *vectors, int count, off64_t at) {
    return pwritev(fd, vectors, count, at);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

/* In short steps, so that a healed disk answers at once. */
static void wait_for_the_disk(void) {
    if (!control->sync_nanoseconds)
        return;
    control->hits++;
    uint64_t begin = now(), most = 5000000, passed = 0;
    for (uint64_t delay; (delay = control->sync_nanoseconds) > passed; passed = now() - begin)
        nanosleep(&(struct timespec){0, delay - passed < most ? delay - passed : most}, NULL);
}

static int sync_watched(struct slot *slot, int fd, const struct stat *status, int (*sync)(int)) {
    /* Only what was there when the sync began is durable after it. */
    bool is_directory = S_ISDIR(status->st_mode);
    uint64_t durable = is_directory ? control->sequence : (uint64_t)status->st_size;
    die_at(slot, BEFORE_SYNC);
    wait_for_the_disk();
    int error = control->sync_error;
    if (error) {
        control->hits++;
        if (!is_directory && durable > slot->durable)
            slot->lost = 1;
        errno = error;
        return -1;
    }
    if (sync(fd))
        return -1;
    if (!slot->lost)
        advance(slot, durable);
    die_at(slot, AFTER_SYNC);
    return 0;
}

int fsync(int fd) {
    struct stat status;
    struct slot *slot = watched(fd, &status);
    return slot ? sync_watched(slot, fd, &status, REAL(fsync)) : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    struct stat status;
    struct slot *slot = watched(fd, &status);
    return slot ? sync_watched(slot, fd, &status, REAL(fdatasync)) : REAL(fdatasync)(fd);
}

int ftruncate(int fd, off_t length) {
    struct stat status;
    struct slot *slot = watched(fd, &status);
    int failed = REAL(ftruncate)(fd, length);
    if (slot && !failed)
        cut(slot, length);
    return failed;
}

int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

#include "descriptors.h"
