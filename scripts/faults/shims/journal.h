/* The control file of the disk shim: the faults, and what is durable of each file. disk.py has the same layout. */
#ifndef JOURNAL_H
#define JOURNAL_H

#include "control.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#define SLOT_BITS 14
#define SLOTS (1 << SLOT_BITS)

typedef _Atomic uint64_t word;

enum point { NOWHERE, BEFORE_WRITE, DURING_WRITE, AFTER_WRITE, BEFORE_SYNC, AFTER_SYNC };

/* A file or directory. Slots are claimed with one compare-and-swap and never freed, so that a process may be killed
   anywhere. */
struct slot {
    word key;     /* from its device and inode; 0 in a free slot */
    word durable; /* a file: its length on disk. A directory: the sequence number up to which its entries are on disk */
    word created; /* the sequence number of its directory entry; 0 if the file is older than the journal */
    word lost;    /* 1 after a failed sync: the kernel has dropped the data behind the durable part */
    word counted; /* 1 if points count its writes and syncs */
    word spare[3];
};

struct control {
    word sync_error, write_error, budget; /* errors 0: none. Writes fail once the budget in bytes is spent */
    word sync_nanoseconds;                /* what a sync takes longer */
    word point, countdown, fired;         /* the pid that the point has killed, or 0 */
    word sequence;                        /* of the last directory entry */
    word dropped;                         /* files without a slot */
    word hits;                            /* writes and syncs that failed, were cut short or slowed */
    word spare[6];
    struct slot slots[SLOTS];
};

static struct control *control;
static const char *root = "", *counted_names = "*";

static void start_journal(void) {
    const char *directory = getenv("FAULTS_DISK_DIRECTORY"), *names = getenv("FAULTS_DISK_FILES");
    /* Copies: a program that sets its title writes over its environment. */
    root = directory ? strdup(directory) : root;
    counted_names = names ? strdup(names) : counted_names;
    control = map_control("FAULTS_DISK", sizeof *control);
}

static uint64_t key_of(const struct stat *status) {
    uint64_t key = (uint64_t)status->st_ino * 0x9E3779B97F4A7C15 + (uint64_t)status->st_dev;
    return key ? key : 1;
}

/* Returns the slot of a key, with *is_new if it was claimed just now; NULL if there is none left. */
static struct slot *slot_of(uint64_t key, bool *is_new) {
    *is_new = false;
    for (uint64_t n = 0, at = key >> (64 - SLOT_BITS); n < SLOTS; n++, at = (at + 1) % SLOTS) {
        struct slot *slot = &control->slots[at];
        uint64_t there = slot->key;
        if (there == 0 && atomic_compare_exchange_strong(&slot->key, &there, key)) {
            *is_new = true;
            return slot;
        }
        if (there == key)
            return slot;
    }
    control->dropped++;
    return NULL;
}

/* Returns the slot of an open file below the root; NULL for any other descriptor. */
static struct slot *find(int fd, const struct stat *status, bool is_created) {
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || !(S_ISREG(status->st_mode) || S_ISDIR(status->st_mode)))
        return NULL;
    path[length] = 0;
    size_t prefix = strlen(root);
    if (strncmp(path, root, prefix) || (path[prefix] && path[prefix] != '/'))
        return NULL;
    bool is_new;
    struct slot *slot = slot_of(key_of(status), &is_new);
    if (slot && S_ISREG(status->st_mode) && (is_new || is_created)) {
        slot->counted = !fnmatch(counted_names, strrchr(path, '/') + 1, 0);
        slot->durable = is_created ? 0 : status->st_size;
        slot->lost = 0;
        /* The inode may be one that a removed file had. */
        slot->created = is_created ? ++control->sequence : 0;
    }
    return slot;
}

static void advance(struct slot *slot, uint64_t to) {
    uint64_t from = slot->durable;
    while (from < to && !atomic_compare_exchange_weak(&slot->durable, &from, to))
        ;
}

/* What is cut off may come back before the next sync, but nothing may rely on it. Lost data behind the cut is gone. */
static void cut(struct slot *slot, uint64_t length) {
    if (length <= slot->durable) {
        slot->durable = length;
        slot->lost = 0;
    }
}

#endif
