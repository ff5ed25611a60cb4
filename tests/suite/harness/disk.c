/*
 * A disk that can be full. Preloaded into a process (LD_PRELOAD), it lets no file below the folder DISK_FOLDER grow
 * while there is a file DISK_FULL: whoever tries gets ENOSPC, as from a file system without a free block. What a file
 * has already can be written again, and read.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char *folder, *full;

__attribute__((constructor)) static void look_around(void) {
    /* Copies: Postgres writes its process title over the environment. */
    folder = strdup(getenv("DISK_FOLDER"));
    full = strdup(getenv("DISK_FULL"));
}

/* Whether the file would have to grow to end there, and cannot. */
static int has_no_room(int file, off_t end) {
    int before = errno, no_room = 0;
    struct stat known;
    char name[32], path[4096];
    ssize_t length;
    if (access(full, F_OK) == 0 && fstat(file, &known) == 0 && S_ISREG(known.st_mode) &&
        end > known.st_size) {
        snprintf(name, sizeof name, "/proc/self/fd/%d", file);
        length = readlink(name, path, sizeof path - 1);
        no_room = length > 0 && strncmp(path, folder, strlen(folder)) == 0;
    }
    errno = no_room ? ENOSPC : before;
    return no_room;
}

/* Where the next write of so many bytes ends; 0 for what has no place, such as a socket. */
static off_t end_of_next(int file, size_t length) {
    int before = errno, flags = fcntl(file, F_GETFL);
    off_t at = lseek(file, 0, flags != -1 && flags & O_APPEND ? SEEK_END : SEEK_CUR);
    errno = before;
    return at == -1 ? 0 : at + (off_t)length;
}

static size_t sum(const struct iovec *parts, int count) {
    size_t length = 0;
    for (int part = 0; part < count; part++) length += parts[part].iov_len;
    return length;
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *bytes, size_t length) {
    REAL(write);
    return has_no_room(file, end_of_next(file, length)) ? -1 : real(file, bytes, length);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    return has_no_room(file, end_of_next(file, sum(parts, count))) ? -1 : real(file, parts, count);
}

#define AT(name, type)                                                                                                \
    ssize_t name(int file, const void *bytes, size_t length, type at) {                                               \
        REAL(name);                                                                                                   \
        return has_no_room(file, at + (off_t)length) ? -1 : real(file, bytes, length, at);                            \
    }
AT(pwrite, off_t)
AT(pwrite64, off64_t)

#define PARTS_AT(name, type)                                                                                          \
    ssize_t name(int file, const struct iovec *parts, int count, type at) {                                           \
        REAL(name);                                                                                                   \
        return has_no_room(file, at + (off_t)sum(parts, count)) ? -1 : real(file, parts, count, at);                  \
    }
PARTS_AT(pwritev, off_t)
PARTS_AT(pwritev64, off64_t)

#define ALLOCATE(name, type)                                                                                          \
    int name(int file, int mode, type at, type length) {                                                              \
        REAL(name);                                                                                                   \
        return has_no_room(file, at + length) ? -1 : real(file, mode, at, length);                                    \
    }
ALLOCATE(fallocate, off_t)
ALLOCATE(fallocate64, off64_t)

/* These answer their error, and leave `errno` alone. */
#define POSIX_ALLOCATE(name, type)                                                                                    \
    int name(int file, type at, type length) {                                                                        \
        REAL(name);                                                                                                   \
        return has_no_room(file, at + length) ? ENOSPC : real(file, at, length);                                      \
    }
POSIX_ALLOCATE(posix_fallocate, off_t)
POSIX_ALLOCATE(posix_fallocate64, off64_t)
