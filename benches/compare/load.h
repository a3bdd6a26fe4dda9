/* What the load programs have in common. PROGRAM is the name of the program in its errors. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline void fail(const char *what) {
    fprintf(stderr, PROGRAM ": %s: %s\n", what, strerror(errno));
    exit(1);
}

static inline double seconds_of(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static inline double now(void) {
    return seconds_of(CLOCK_MONOTONIC);
}

/* Returns the seconds of CPU of this process. */
static inline double own_cpu(void) {
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

/* Returns the seconds of CPU of another process: user and system time of /proc/PID/stat. */
static inline double cpu_of(int pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(text, sizeof text, file) == NULL) fail(path);
    fclose(file);
    unsigned long user, system;
    char *after_name = strrchr(text, ')');
    if (after_name == NULL ||
        sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        fail(path);
    return (double)(user + system) / sysconf(_SC_CLK_TCK);
}

/* Returns a socket that is connected to a port of this machine. */
static inline int connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int opened = socket(AF_INET, SOCK_STREAM, 0);
    if (opened < 0) fail("socket");
    if (connect(opened, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    return opened;
}

/* Returns a connected socket that sends each write at once, and adds it to an epoll as number `index`. */
static inline int connect_and_watch(int port, int poll, uint32_t index) {
    int opened = connect_to(port), on = 1;
    setsockopt(opened, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, opened, &event) < 0) fail("epoll_ctl");
    return opened;
}

/* Compares two floats for qsort. */
static inline int ascending(const void *left, const void *right) {
    float difference = *(const float *)left - *(const float *)right;
    return (difference > 0) - (difference < 0);
}
