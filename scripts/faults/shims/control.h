/* The control file of a shim, mapped into each process that runs with it. */
#ifndef CONTROL_H
#define CONTROL_H

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Maps the file that an environment variable names; NULL without the variable. A file that can't be mapped ends the
   process: it would run without the fault that the trial is about. */
static void *map_control(const char *variable, size_t size) {
    const char *path = getenv(variable);
    if (!path)
        return NULL;
    void *memory = MAP_FAILED;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
    if (memory == MAP_FAILED) {
        fprintf(stderr, "%s: cannot map %s: %m\n", variable, path);
        _exit(125);
    }
    return memory;
}

/* The function that a wrapper stands for. A constructor of another library may call the wrapper before ours has run. */
#define REAL(name)                                                                                                     \
    ({                                                                                                                 \
        static __typeof__(&name) found;                                                                                \
        if (__builtin_expect(!found, 0))                                                                               \
            found = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                                        \
        found;                                                                                                         \
    })

#endif
