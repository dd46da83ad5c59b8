/* A slow disk for one process: preloaded, it makes every sync wait for as many milliseconds as the file named by SLOW_SYNC says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void slow(void) {
    const char *path = getenv("SLOW_SYNC");
    FILE *file = path ? fopen(path, "r") : NULL;
    unsigned milliseconds = 0;
    if (file == NULL) return;
    if (fscanf(file, "%u", &milliseconds) == 1) usleep(milliseconds * 1000);
    fclose(file);
}

int fdatasync(int fd) {
    slow();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

int fsync(int fd) {
    slow();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
