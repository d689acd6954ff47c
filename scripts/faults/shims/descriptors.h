/* Where descriptors begin and end, a part of disk.c. A new file has nothing durable yet, not even its name. */

static int opened(int fd, int flags, bool is_created) {
    int error = errno;
    struct stat status;
    forget(fd);
    if (control && fd >= 0 && (is_created || (flags & O_TRUNC)) && !fstat(fd, &status)) {
        struct slot *slot = find(fd, &status, is_created);
        if (slot && S_ISREG(status.st_mode))
            cut(slot, 0);
    }
    errno = error;
    return fd;
}

static bool creates(int directory, const char *path, int flags) {
    if (!control || !(flags & O_CREAT))
        return false;
    int error = errno;
    bool is_missing = (flags & O_EXCL) || faccessat(directory, path, F_OK, 0);
    errno = error;
    return is_missing;
}

/* The mode is there only if a file may be made. */
static mode_t mode_of(int flags, va_list arguments) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

static int open_watched(int directory, const char *path, int flags, mode_t mode) {
    bool is_created = creates(directory, path, flags);
    return opened(REAL(openat)(directory, path, flags, mode), flags, is_created);
}

#define OPENS(name, parameters, last, directory, more)                                                                 \
    int name parameters {                                                                                              \
        va_list arguments;                                                                                             \
        va_start(arguments, last);                                                                                     \
        mode_t mode = mode_of(flags, arguments);                                                                       \
        va_end(arguments);                                                                                             \
        return open_watched(directory, path, (flags) | (more), mode);                                                  \
    }

OPENS(open, (const char *path, int flags, ...), flags, AT_FDCWD, 0)
OPENS(open64, (const char *path, int flags, ...), flags, AT_FDCWD, O_LARGEFILE)
OPENS(openat, (int directory, const char *path, int flags, ...), flags, directory, 0)
OPENS(openat64, (int directory, const char *path, int flags, ...), flags, directory, O_LARGEFILE)

int creat(const char *path, mode_t mode) { return open_watched(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* Forgotten before it is closed: another thread may get the same number at once. */
int close(int fd) {
    forget(fd);
    return REAL(close)(fd);
}

int close_range(unsigned first, unsigned last, int flags) {
    for (unsigned fd = first; fd <= last && fd < DESCRIPTORS; fd++)
        forget(fd);
    return REAL(close_range)(first, last, flags);
}

int dup2(int from, int to) {
    forget(to);
    return REAL(dup2)(from, to);
}

int dup3(int from, int to, int flags) {
    forget(to);
    return REAL(dup3)(from, to, flags);
}

/* A temporary file gets its final name: until the directory is synced, a power cut may take that name back. What is
   renamed otherwise, such as an abandoned audit file, keeps one of two names that are both read. */
static void renamed(const char *from, int into, const char *to) {
    const char *slash = strrchr(from, '/');
    int error = errno;
    struct stat status;
    if (control && (slash ? slash[1] : from[0]) == '.' && !fstatat(into, to, &status, AT_SYMLINK_NOFOLLOW) &&
        S_ISREG(status.st_mode)) {
        bool is_new;
        struct slot *slot = slot_of(key_of(&status), &is_new);
        if (slot && is_new)
            slot->durable = status.st_size;
        if (slot)
            slot->created = ++control->sequence;
    }
    errno = error;
}

int rename(const char *from, const char *to) {
    int failed = REAL(rename)(from, to);
    if (!failed)
        renamed(from, AT_FDCWD, to);
    return failed;
}

int renameat(int directory, const char *from, int into, const char *to) {
    int failed = REAL(renameat)(directory, from, into, to);
    if (!failed)
        renamed(from, into, to);
    return failed;
}
