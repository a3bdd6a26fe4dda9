/*
 * A load of whole actions in closed loops: each connection calls an action of its own, asks for its status until
 * it is final, and calls it again. The actions are named a1, a2, …, and each has one request. Every action has to
 * end with code 1, unless the device has forgotten its status by then. One thread and one epoll.
 *
 *   cc -O2 action_load.c -o action_load
 *   action_load PORT ACTIONS SECONDS [PID]
 *
 * PAUSE_US=n makes it wait n microseconds before each status query.
 *
 * Prints one line: whole actions a second, status queries for an action, the median and the 99th percentile of the
 * time from call to final status in microseconds, the share of a core of the load itself, the microseconds of CPU
 * that process PID used for an action meanwhile, and the number of actions in all, with those before the measuring.
 */

#define PROGRAM "action_load"
#include "load.h"

enum { MAX_CONNECTIONS = 64, RECEIVED = 4096, SAMPLES = 1 << 20 };

struct connection {
    int socket;
    int action;
    /* The status id of the call. 0 while its reply has not come. */
    unsigned long status_id;
    double called_at;
    int received;
    char reply[RECEIVED];
};

static struct connection connections[MAX_CONNECTIONS];
static float samples[SAMPLES];
static long actions, all_actions, queries;
static long pause_us;

static void fail_reply(const struct connection *connection) {
    fprintf(stderr, "action_load: unexpected reply: %s\n", connection->reply);
    exit(1);
}

static void send_text(struct connection *connection, const char *text, int length) {
    connection->received = 0;
    if (send(connection->socket, text, length, MSG_NOSIGNAL) != length) fail("send");
}

static void call(struct connection *connection) {
    char text[128];
    int length = sprintf(text, "POST /api/v1/actions/call?id=a%d HTTP/1.1\r\nHost: device\r\nContent-Length: 0\r\n\r\n",
                         connection->action);
    connection->status_id = 0;
    connection->called_at = now();
    send_text(connection, text, length);
}

static void query(struct connection *connection) {
    char text[128];
    int length = sprintf(text, "GET /api/v1/actions/status?id=%lu HTTP/1.1\r\nHost: device\r\n\r\n",
                         connection->status_id);
    queries++;
    if (pause_us > 0) usleep(pause_us);
    send_text(connection, text, length);
}

/* Returns true if the whole reply is there: a head with Content-Length, and as many bytes after it. */
static int is_whole(struct connection *connection) {
    connection->reply[connection->received] = 0;
    char *body = strstr(connection->reply, "\r\n\r\n");
    if (body == NULL) return 0;
    char *length = strstr(connection->reply, "Content-Length: ");
    if (length == NULL || length > body) fail_reply(connection);
    return connection->received >= body + 4 - connection->reply + atoi(length + 16);
}

/* Reads what is there, and sends the next request after a whole reply. */
static void receive(struct connection *connection) {
    ssize_t length = recv(connection->socket, connection->reply + connection->received,
                          RECEIVED - 1 - connection->received, 0);
    if (length == 0) errno = ECONNRESET;
    if (length <= 0) fail("the device closed a connection");
    connection->received += length;
    if (!is_whole(connection)) return;
    if (connection->status_id == 0) {
        /* An earlier load may have left the action in progress. */
        if (strncmp(connection->reply, "HTTP/1.1 409", 12) == 0) {
            call(connection);
            return;
        }
        char *location = strstr(connection->reply, "/api/v1/actions/status?id=");
        if (strncmp(connection->reply, "HTTP/1.1 202", 12) != 0 || location == NULL) fail_reply(connection);
        connection->status_id = strtoul(location + 26, NULL, 10);
        query(connection);
        return;
    }
    /* The device keeps the newest 40 entries, so that others may have pushed this one out. */
    int is_gone = strncmp(connection->reply, "HTTP/1.1 404", 12) == 0;
    char *code = strstr(connection->reply, "\"code\":"), *time = strstr(connection->reply, "\"exe_time\":");
    if (!is_gone) {
        if (strncmp(connection->reply, "HTTP/1.1 200", 12) != 0 || code == NULL || time == NULL) fail_reply(connection);
        /* Until the status is final, exe_time is 0. */
        if (atof(time + 11) == 0) {
            query(connection);
            return;
        }
        if (atoi(code + 7) != 1) fail_reply(connection);
    }
    all_actions++;
    samples[actions++ % SAMPLES] = (now() - connection->called_at) * 1e6;
    call(connection);
}

int main(int count, char **arguments) {
    if (count < 4) {
        fprintf(stderr, "usage: action_load PORT ACTIONS SECONDS [PID]\n");
        return 2;
    }
    int port = atoi(arguments[1]), number = atoi(arguments[2]), process = count > 4 ? atoi(arguments[4]) : 0;
    double seconds = atof(arguments[3]);
    const char *pause = getenv("PAUSE_US");
    if (pause != NULL) pause_us = atol(pause);
    if (number < 1 || number > MAX_CONNECTIONS) fail("ACTIONS has to be 1 to 64");

    int poll = epoll_create1(0);
    for (int index = 0; index < number; index++) {
        struct connection *connection = &connections[index];
        connection->action = index + 1;
        connection->socket = connect_and_watch(port, poll, index);
        call(connection);
    }

    /* The first tenth warms up. */
    double begin = now() + seconds / 10, end = begin + seconds, begin_cpu = 0, process_cpu = 0;
    int measuring = 0;
    for (;;) {
        double time = now();
        if (!measuring && time >= begin) {
            measuring = 1;
            actions = queries = 0;
            begin = time;
            begin_cpu = own_cpu();
            if (process) process_cpu = cpu_of(process);
        }
        if (time >= end) break;
        /* A single connection needs no epoll. */
        if (number == 1) {
            receive(&connections[0]);
            continue;
        }
        struct epoll_event events[MAX_CONNECTIONS];
        int ready = epoll_wait(poll, events, MAX_CONNECTIONS, 1000);
        if (ready == 0) errno = ETIMEDOUT;
        if (ready <= 0) fail("epoll_wait");
        for (int index = 0; index < ready; index++) receive(&connections[events[index].data.u32]);
    }
    double elapsed = now() - begin;
    double cpu = process ? (cpu_of(process) - process_cpu) * 1e6 / actions : 0;
    long taken = actions < SAMPLES ? actions : SAMPLES;
    qsort(samples, taken, sizeof *samples, ascending);
    printf("%.0f %.2f %.0f %.0f %.2f %.1f %ld\n", actions / elapsed, (double)queries / actions, samples[taken / 2],
           samples[taken * 99 / 100], (own_cpu() - begin_cpu) / elapsed, cpu, all_actions);
    return 0;
}
