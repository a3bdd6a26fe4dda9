/*
 * A Modbus TCP server as people write it with libmodbus: the structure of its example for many clients,
 * bandwidth-server-many-up.c. One thread, one select() over all connections, and for each readable one
 * modbus_receive() and modbus_reply(). The reference of scripts/measure-slaves.
 *
 *   cc -O2 libmodbus_server.c -o libmodbus_server $(pkg-config --cflags --libs libmodbus)
 *   libmodbus_server      prints the port that it listens on
 */

#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REGISTERS = 100, BACKLOG = 1024 };

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

int main(void) {
    modbus_t *context = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *mapping = modbus_mapping_new(0, 0, REGISTERS, 0);
    if (context == NULL || mapping == NULL) fail("modbus_new_tcp");
    for (int index = 0; index < REGISTERS; index++) mapping->tab_registers[index] = index;

    int listener = modbus_tcp_listen(context, BACKLOG);
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&address, &length) < 0) fail("modbus_tcp_listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    fd_set connections, readable;
    FD_ZERO(&connections);
    FD_SET(listener, &connections);
    int highest = listener;
    for (;;) {
        readable = connections;
        if (select(highest + 1, &readable, NULL, NULL, NULL) < 0) fail("select");
        for (int socket = 0; socket <= highest; socket++) {
            if (!FD_ISSET(socket, &readable)) continue;
            if (socket == listener) {
                int accepted = accept(listener, NULL, NULL);
                if (accepted < 0 || accepted >= FD_SETSIZE) fail("accept");
                FD_SET(accepted, &connections);
                if (accepted > highest) highest = accepted;
                continue;
            }
            uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
            modbus_set_socket(context, socket);
            int received = modbus_receive(context, request);
            if (received > 0) {
                modbus_reply(context, request, received, mapping);
            } else if (received < 0) {
                close(socket);
                FD_CLR(socket, &connections);
                while (!FD_ISSET(highest, &connections)) highest--;
            }
        }
    }
}
