// The floor under every relay: relay IN_PORT FIRST_OUT_PORT COUNT. One datagram in, one sendto() an output, nothing else.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define MOST 64

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port)};
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return place;
}

int main(int count, char **words) {
    if (count != 4) {
        fprintf(stderr, "usage: relay IN_PORT FIRST_OUT_PORT COUNT\n");
        return 2;
    }
    int first = atoi(words[2]), outputs = atoi(words[3]), bytes = 4 << 20;
    struct sockaddr_in from = loopback(atoi(words[1])), to[MOST];
    for (int n = 0; n < outputs && n < MOST; n++) to[n] = loopback(first + n);

    int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(in, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (bind(in, (struct sockaddr *)&from, sizeof from)) {
        perror("relay: bind");
        return 1;
    }
    static char datagram[2048];
    for (;;) {
        ssize_t size = recv(in, datagram, sizeof datagram, 0);
        if (size < 0) continue;
        for (int n = 0; n < outputs && n < MOST; n++)
            sendto(out, datagram, size, 0, (struct sockaddr *)&to[n], sizeof to[n]);
    }
}
