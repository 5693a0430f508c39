// The floor under every relay: relay IN_PORT FIRST_OUT_PORT COUNT [GATHER]. One datagram in, one sendto() an output, nothing else.
// With GATHER, so many datagrams in, and one call an output, which the kernel cuts into datagrams again (udp(7), UDP_SEGMENT).
#include <arpa/inet.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { MOST = 64, DATAGRAM = 1316, MOST_GATHERED = 44 };

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port)};
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return place;
}

int main(int count, char **words) {
    int gather = count == 5 ? atoi(words[4]) : 1;
    if (count < 4 || gather < 1 || gather > MOST_GATHERED) {
        fprintf(stderr, "usage: relay IN_PORT FIRST_OUT_PORT COUNT [GATHER]\n");
        return 2;
    }
    int first = atoi(words[2]), outputs = atoi(words[3]), bytes = 4 << 20, segment = DATAGRAM;
    struct sockaddr_in from = loopback(atoi(words[1])), to[MOST];
    for (int n = 0; n < outputs && n < MOST; n++) to[n] = loopback(first + n);

    int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(in, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (gather > 1 && setsockopt(out, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment)) {
        perror("relay: UDP_SEGMENT");
        return 1;
    }
    if (bind(in, (struct sockaddr *)&from, sizeof from)) {
        perror("relay: bind");
        return 1;
    }
    static char buffer[MOST_GATHERED * DATAGRAM + 2048];
    for (int had = 0, size = 0;;) {
        ssize_t got = recv(in, buffer + size, gather > 1 ? DATAGRAM : 2048, 0);
        if (got < 0) continue;
        size += got;
        if (++had < gather) continue;
        for (int n = 0; n < outputs && n < MOST; n++)
            sendto(out, buffer, size, 0, (struct sockaddr *)&to[n], sizeof to[n]);
        had = size = 0;
    }
}
