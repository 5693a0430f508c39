// What a hostile sender throws at a port: datagrams of a recorded stream, spoilt in all ways, and noise between them.
//
//   spray RECORDING COUNT SEED FROM TO_PORT MOST_QUEUED MOST_PER_SECOND
//
// RECORDING holds datagrams, each behind its length (16 bits, native). FROM is a local address: the datagrams leave from SENDERS ports of it
// at a time, others every now and then. Before more than MOST_QUEUED bytes wait at TO_PORT it pauses (0: it never does), so that the kernel
// drops none; MOST_PER_SECOND 0 is as fast as it goes. Prints a JSON object; SEED makes the same datagrams again.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_KERNEL = 2304, LONGEST = 2048, AT_ONCE = 32, SENDERS = 64, CHANGE_EVERY = 4096, MOST_RECORDED = 4096, KINDS = 10, HEAD = 48 }; // IN_KERNEL: bytes that one datagram takes there

static uint64_t state;
static uint8_t *recorded[MOST_RECORDED];
static uint16_t sizes[MOST_RECORDED];
static int count_recorded;

static uint64_t chance(void) { // splitmix64
    uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

static uint32_t below(uint32_t limit) { return chance() % limit; }

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void load(const char *name) {
    FILE *in = fopen(name, "rb");
    if (!in) fail(name);
    for (uint16_t size; count_recorded < MOST_RECORDED && fread(&size, sizeof size, 1, in) == 1; count_recorded++) {
        if (size > LONGEST || !(recorded[count_recorded] = malloc(LONGEST)) || fread(recorded[count_recorded], 1, size, in) != size) break;
        sizes[count_recorded] = size;
    }
    fclose(in);
    if (!count_recorded) {
        fprintf(stderr, "spray: %s holds no datagrams\n", name);
        exit(2);
    }
}

static void noise(uint8_t *to, int size) {
    for (int at = 0; at < size; at++) to[at] = chance();
}

// Half of all pieces are of the first datagrams recorded: handshakes, where the protocol has any.
static int piece(uint8_t *to) {
    int which = below(2) ? below(count_recorded) : below(count_recorded < 32 ? count_recorded : 32);
    memcpy(to, recorded[which], sizes[which]);
    return sizes[which];
}

static void wild_field(uint8_t *datagram, int size) {
    static const uint64_t extremes[] = {0, 1, ~0ULL, 0x8000000000000000ULL, 0x7FFFFFFFFFFFFFFFULL, 0xFFFF0000FFFF0000ULL};
    int width = 1 << below(4), limit = size < HEAD ? size : HEAD;
    if (limit < width) return;
    uint64_t value = below(3) ? chance() : extremes[below(6)];
    memcpy(datagram + below(limit / width) * width, &value, width);
}

static int spoilt(uint8_t *to, int kind) {
    static uint8_t other[LONGEST];
    int size = kind ? piece(to) : 0;
    switch (kind) {
    case 0: // noise
        size = below(1473);
        noise(to, size);
        break;
    case 1: // bits
        for (int n = 1 + below(8); n && size; n--) to[below(size)] ^= 1 << below(8);
        break;
    case 2: // cut off
        size = below(size + 1);
        break;
    case 3: { // too long
        int more = 1 + below(LONGEST - 576 - size > 1 ? LONGEST - 576 - size : 1);
        noise(to + size, more);
        size += more;
        break;
    }
    case 4: // as it was: late, twice, from elsewhere
        break;
    case 5: // one field of the header
        wild_field(to, size);
        break;
    case 6: // many
        for (int n = 2 + below(8); n; n--) wild_field(to, size);
        break;
    case 7: { // two datagrams in one
        int second = piece(other), at = below((size < second ? size : second) + 1);
        memcpy(to + at, other + at, second - at);
        size = second;
        break;
    }
    case 8: { // a good head, and noise
        int keep = below(HEAD + 1);
        if (keep < size) noise(to + keep, size - keep);
        break;
    }
    case 9: // a good datagram with another number, as RTP writes it
        if (size >= 4) noise(to + 2, 2);
        break;
    }
    return size;
}

static int sender(const char *from, int port) {
    struct sockaddr_in own = {.sin_family = AF_INET}, target = {.sin_family = AF_INET, .sin_port = htons(port)};
    int opened = socket(AF_INET, SOCK_DGRAM, 0);
    if (!inet_aton(from, &own.sin_addr)) fail(from);
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (opened < 0 || bind(opened, (struct sockaddr *)&own, sizeof own) || connect(opened, (struct sockaddr *)&target, sizeof target)) fail("spray: socket");
    return opened;
}

// Bytes that wait in the socket on `port`, as the kernel counts them; -1 where there is none.
static long queued(int port) {
    static char line[512];
    char hex[8];
    long waiting = -1;
    snprintf(hex, sizeof hex, ":%04X", port);
    FILE *table = fopen("/proc/net/udp", "r");
    if (!table) fail("/proc/net/udp");
    while (fgets(line, sizeof line, table)) {
        char local[64], far[64];
        unsigned long out, in;
        if (sscanf(line, " %*d: %63s %63s %*x %lx:%lx", local, far, &out, &in) == 4 && strstr(local, hex) && !strncmp(far, "00000000:", 9)) waiting = in;
    }
    fclose(table);
    return waiting;
}

static void pause_ns(long ns) {
    struct timespec rest = {0, ns};
    nanosleep(&rest, NULL);
}

int main(int words, char **word) {
    static uint8_t data[AT_ONCE][LONGEST];
    struct mmsghdr messages[AT_ONCE];
    struct iovec parts[AT_ONCE];
    int senders[SENDERS];
    if (words != 8) {
        fprintf(stderr, "usage: spray RECORDING COUNT SEED FROM TO_PORT MOST_QUEUED MOST_PER_SECOND\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1);
    load(word[1]);
    long count = atol(word[2]), most_queued = atol(word[6]), per_second = atol(word[7]), sent = 0, refused = 0, room = 0;
    int port = atoi(word[5]);
    state = strtoull(word[3], NULL, 10);
    for (int n = 0; n < SENDERS; n++) senders[n] = sender(word[4], port);
    double began_s = now_s();
    for (long turn = 0; sent < count; turn++) {
        int batch = count - sent < AT_ONCE ? count - sent : AT_ONCE;
        for (int n = 0; n < batch; n++) {
            parts[n] = (struct iovec){data[n], spoilt(data[n], below(KINDS))};
            messages[n].msg_hdr = (struct msghdr){.msg_iov = &parts[n], .msg_iovlen = 1};
        }
        for (int unseen = 0; most_queued && room < (long)AT_ONCE * IN_KERNEL;) {
            long waiting = queued(port);
            if (waiting < 0 && ++unseen > 1000) { // the table is not read in one piece: a line may slip while sockets come and go
                fprintf(stderr, "spray: nobody listens at %d any more\n", port);
                return 1;
            }
            if (waiting >= 0) room = most_queued - waiting;
            if (room < (long)AT_ONCE * IN_KERNEL) pause_ns(200000);
        }
        room -= (long)AT_ONCE * IN_KERNEL;
        while (per_second && sent > (now_s() - began_s) * per_second) pause_ns(200000);
        int *out = &senders[turn % SENDERS];
        for (int gone = 0; gone < batch;) {
            int got = sendmmsg(*out, messages + gone, batch - gone, 0);
            if (got > 0) gone += got;
            else if (errno == ECONNREFUSED) {
                if (++refused > 1000) fail("spray: nobody listens");
            } else fail("spray: sendmmsg");
        }
        sent += batch;
        if (turn % (CHANGE_EVERY / AT_ONCE) == CHANGE_EVERY / AT_ONCE - 1) {
            close(*out);
            *out = sender(word[4], port);
        }
    }
    printf("{\"sent\": %ld, \"seconds\": %.3f, \"refused\": %ld}\n", sent, now_s() - began_s, refused);
    return 0;
}
