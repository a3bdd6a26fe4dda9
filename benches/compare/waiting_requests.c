/*
 * Requests that wait for a delayed reply: opens connections, sends on each what its kind says, and keeps them open
 * until SIGTERM. Prints the number of requests when all are sent, and at the end the number of connections that got
 * a reply or were closed, which has to be 0.
 *
 *   cc -O2 waiting_requests.c -o waiting_requests
 *   waiting_requests KIND:PORT:CONNECTIONS...
 *
 * KIND: `modbus2` sends a read to unit 1 and one to unit 2, `http` a GET of /slow.
 */

#include <signal.h>

#define PROGRAM "waiting_requests"
#include "load.h"

enum { MAX_CONNECTIONS = 19000 };

static int sockets[MAX_CONNECTIONS];

static void send_all(int socket, const void *bytes, size_t length) {
    if (send(socket, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) fail("send");
}

int main(int count, char **arguments) {
    int connections = 0, requests = 0;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    for (int index = 1; index < count; index++) {
        char kind[16];
        int port, number;
        if (sscanf(arguments[index], "%15[^:]:%d:%d", kind, &port, &number) != 3) fail(arguments[index]);
        for (; number > 0; number--) {
            if (connections == MAX_CONNECTIONS) fail("too many connections");
            int opened = connect_to(port);
            if (strcmp(kind, "modbus2") == 0) {
                uint8_t reads[] = {0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1, 0, 2, 0, 0, 0, 6, 2, 3, 0, 0, 0, 1};
                send_all(opened, reads, sizeof reads);
                requests += 2;
            } else {
                const char *get = "GET /slow HTTP/1.1\r\nHost: target\r\n\r\n";
                send_all(opened, get, strlen(get));
                requests++;
            }
            sockets[connections++] = opened;
        }
    }
    printf("%d\n", requests);
    fflush(stdout);
    int signal;
    sigwait(&signals, &signal);
    int ended = 0;
    for (int index = 0; index < connections; index++) {
        char byte;
        if (recv(sockets[index], &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN) ended++;
    }
    printf("%d\n", ended);
    return ended != 0;
}
