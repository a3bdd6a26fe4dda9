/*
 * A load of Modbus reads in closed loops: each connection has one request outstanding, reads of ten holding
 * registers of unit 1, and sends the next one when it has the reply. Every reply is checked. One thread, one
 * epoll, two system calls for a request beside the shared waiting: it needs less of a core for a request than
 * a server. It prints the share of a core that it needed, so that one sees if it held the server up.
 *
 *   cc -O2 modbus_load.c -o modbus_load
 *   modbus_load PORT CONNECTIONS SECONDS [PID...]
 *
 * Prints one line: requests a second, the share of a core of the load itself, the median and the 99th
 * percentile of the round trips in microseconds, and for each process PID the microseconds of CPU that it
 * used for a request meanwhile.
 */

#define PROGRAM "modbus_load"
#include "load.h"

enum { MAX_CONNECTIONS = 1024, MAX_PROCESSES = 8, REGISTERS = 10, REPLY = 9 + 2 * REGISTERS, SAMPLES = 1 << 22 };

struct connection {
    int socket;
    uint16_t transaction;
    int received;
    double sent_at;
    uint8_t reply[REPLY];
};

static struct connection connections[MAX_CONNECTIONS];
static float samples[SAMPLES];
static long requests;

static void send_request(struct connection *connection) {
    uint16_t id = ++connection->transaction;
    uint8_t request[12] = {id >> 8, id & 0xff, 0, 0, 0, 6, 1, 3, 0, 0, 0, REGISTERS};
    connection->received = 0;
    connection->sent_at = now();
    if (send(connection->socket, request, sizeof request, MSG_NOSIGNAL) != sizeof request) fail("send");
}

/* Reads what is there. Checks a whole reply and sends the next request. */
static void receive(struct connection *connection) {
    ssize_t length =
        recv(connection->socket, connection->reply + connection->received, REPLY - connection->received, 0);
    if (length == 0) errno = ECONNRESET;
    if (length <= 0) fail("the server closed a connection");
    connection->received += length;
    if (connection->received < REPLY) return;
    uint8_t expected[9] = {connection->transaction >> 8, connection->transaction & 0xff, 0, 0, 0,
                           3 + 2 * REGISTERS, 1, 3, 2 * REGISTERS};
    if (memcmp(connection->reply, expected, sizeof expected) != 0 || connection->reply[REPLY - 1] != REGISTERS - 1) {
        errno = EPROTO;
        fail("a reply is wrong");
    }
    samples[requests++ % SAMPLES] = (now() - connection->sent_at) * 1e6;
    send_request(connection);
}

int main(int count, char **arguments) {
    if (count < 4) {
        fprintf(stderr, "usage: modbus_load PORT CONNECTIONS SECONDS [PID...]\n");
        return 2;
    }
    int port = atoi(arguments[1]), number = atoi(arguments[2]), processes = count - 4;
    double seconds = atof(arguments[3]);
    if (number < 1 || number > MAX_CONNECTIONS || processes > MAX_PROCESSES) fail("too many");

    int poll = epoll_create1(0);
    for (int index = 0; index < number; index++) {
        struct connection *connection = &connections[index];
        connection->socket = connect_and_watch(port, poll, index);
    }
    for (int index = 0; index < number; index++) send_request(&connections[index]);

    /* The first tenth warms up. */
    double begin = now() + seconds / 10, end = begin + seconds, begin_cpu = 0, process_cpu[MAX_PROCESSES];
    int measuring = 0;
    for (;;) {
        double time = now();
        if (!measuring && time >= begin) {
            measuring = 1;
            requests = 0;
            begin = time;
            begin_cpu = own_cpu();
            for (int index = 0; index < processes; index++) process_cpu[index] = cpu_of(atoi(arguments[4 + index]));
        }
        if (time >= end) break;
        /* A single connection needs no epoll. */
        if (number == 1) {
            receive(&connections[0]);
            continue;
        }
        struct epoll_event events[256];
        int ready = epoll_wait(poll, events, 256, 1000);
        if (ready == 0) errno = ETIMEDOUT;
        if (ready <= 0) fail("epoll_wait");
        for (int index = 0; index < ready; index++) receive(&connections[events[index].data.u32]);
    }
    double elapsed = now() - begin;
    long taken = requests < SAMPLES ? requests : SAMPLES;
    printf("%.0f %.2f", requests / elapsed, (own_cpu() - begin_cpu) / elapsed);
    qsort(samples, taken, sizeof *samples, ascending);
    printf(" %.1f %.1f", samples[taken / 2], samples[taken * 99 / 100]);
    for (int index = 0; index < processes; index++)
        printf(" %.3f", (cpu_of(atoi(arguments[4 + index])) - process_cpu[index]) * 1e6 / requests);
    printf("\n");
    return 0;
}
