// The ends of a measurement, cheap enough that two processors are left for what is measured.
//
//   ports pace FILE RATE_BPS BURST_MS SECONDS PORT…   evenly spaced datagrams of FILE, the same to every port; with BURST_MS all that is
//                                                     due in so long at once. FILE `index`: transport packets that carry their number
//   ports sink FILE RECORDED PORT…                    counts; of the first RECORDED ports FILE gets a record a datagram
//   ports tap FILE PORT TARGET                        passes datagrams on; FILE gets a record of each, place 0 towards TARGET, 1 back
//   ports collect FILE ts|rtp PORT…                   FILE gets the number of each transport packet, or of each RTP packet
//
// All but `pace` end with SIGINT; each prints one JSON object. A record is {time of arrival in ns by the kernel, place of the port, bytes}.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

enum { PACKET = 188, PACKETS = 7, DATAGRAM = PACKET * PACKETS, MOST = 64, AT_ONCE = 32, LONGEST = 2048, LARGEST = 65536, LOOK_EVERY_NS = 2000000 };

struct record {
    uint64_t at_ns;
    uint16_t place, size;
    uint32_t unused;
};

static volatile sig_atomic_t ended;
static void on_signal(int number) { ended = number; }

static int64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port)};
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return place;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int receiver(int port, int stamped) {
    struct sockaddr_in place = loopback(port);
    int opened = socket(AF_INET, SOCK_DGRAM, 0), bytes = 8 << 20;
    if (setsockopt(opened, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes)) // as root; else what the system allows
        setsockopt(opened, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    setsockopt(opened, SOL_SOCKET, SO_TIMESTAMPNS, &stamped, sizeof stamped);
    if (bind(opened, (struct sockaddr *)&place, sizeof place)) fail("ports: bind");
    return opened;
}

static void number_packets(uint8_t *datagram, uint64_t first) {
    for (int n = 0; n < PACKETS; n++, datagram += PACKET) {
        uint64_t number = first + n;
        uint8_t head[] = {0x47, 0x01, 0x00, 0x10 | (number & 15)}; // PID 256, payload only
        memset(datagram, 0xA5, PACKET);
        memcpy(datagram, head, sizeof head);
        memcpy(datagram + 4, "SEQ!", 4);
        memcpy(datagram + 8, &number, sizeof number);
    }
}

static void pace(const char *file, double rate_bps, double burst_ms, double seconds, char **ports, int count) {
    static uint8_t indexed[DATAGRAM];
    struct sockaddr_in to[MOST];
    uint8_t *stream = NULL;
    long size = 0;
    if (strcmp(file, "index")) {
        FILE *in = fopen(file, "rb");
        if (!in || fseek(in, 0, SEEK_END) || (size = ftell(in)) < DATAGRAM || !(stream = malloc(size))) fail("ports: the stream");
        rewind(in);
        if (fread(stream, 1, size, in) != (size_t)size) fail("ports: the stream");
        fclose(in);
    }
    for (int n = 0; n < count; n++) to[n] = loopback(atoi(ports[n]));
    int out = socket(AF_INET, SOCK_DGRAM, 0);
    double gap_ns = DATAGRAM * 8e9 / rate_bps, burst_ns = burst_ms * 1e6;
    int64_t start_ns = monotonic_ns(), sent = 0;
    for (; !ended && sent * gap_ns < seconds * 1e9; sent++) {
        double due_ns = sent * gap_ns;
        if (burst_ns > 0) due_ns = (int64_t)(due_ns / burst_ns) * burst_ns;
        int64_t at_ns = start_ns + (int64_t)due_ns;
        if (at_ns > monotonic_ns()) {
            struct timespec at = {at_ns / 1000000000, at_ns % 1000000000};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        }
        uint8_t *datagram = stream ? stream + sent % (size / DATAGRAM) * DATAGRAM : indexed;
        if (!stream) number_packets(datagram, sent * PACKETS);
        for (int n = 0; n < count; n++) sendto(out, datagram, DATAGRAM, 0, (struct sockaddr *)&to[n], sizeof to[n]);
    }
    printf("{\"datagrams\": %lld}\n", (long long)sent);
}

static uint64_t arrived_ns(struct msghdr *message) {
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec at;
            memcpy(&at, CMSG_DATA(part), sizeof at);
            return at.tv_sec * 1000000000ULL + at.tv_nsec;
        }
    return 0;
}

static void keep_numbers(FILE *out, const uint8_t *datagram, int size, int rtp) {
    uint64_t number;
    if (rtp) {
        if (size < 12) return;
        number = datagram[2] << 8 | datagram[3];
        fwrite(&number, sizeof number, 1, out);
        return;
    }
    for (int at = 0; at + PACKET <= size; at += PACKET)
        if (!memcmp(datagram + at + 4, "SEQ!", 4)) fwrite(datagram + at + 8, sizeof number, 1, out);
}

// Looks every 2 ms: a sink asleep in recv() would have each send() wake it, and the sender pay for that.
static void sink(FILE *out, int recorded, const char *kind, char **ports, int count) {
    static uint8_t data[AT_ONCE][LONGEST], control[AT_ONCE][128];
    struct mmsghdr messages[AT_ONCE];
    struct iovec parts[AT_ONCE];
    int sockets[MOST];
    uint64_t counts[MOST] = {0};
    for (int n = 0; n < count; n++) sockets[n] = receiver(atoi(ports[n]), n < recorded);
    while (!ended) {
        struct timespec rest = {0, LOOK_EVERY_NS};
        nanosleep(&rest, NULL);
        for (int n = 0, got; n < count; n++) do {
            for (int at = 0; at < AT_ONCE; at++) {
                parts[at] = (struct iovec){data[at], LONGEST};
                messages[at].msg_hdr = (struct msghdr){.msg_iov = &parts[at], .msg_iovlen = 1, .msg_control = control[at], .msg_controllen = 128};
            }
            got = recvmmsg(sockets[n], messages, AT_ONCE, MSG_DONTWAIT, NULL);
            if (got > 0) counts[n] += got;
            for (int at = 0; at < got; at++) {
                if (kind) keep_numbers(out, data[at], messages[at].msg_len, *kind == 'r');
                else if (n < recorded) {
                    struct record line = {arrived_ns(&messages[at].msg_hdr), n, messages[at].msg_len, 0};
                    fwrite(&line, sizeof line, 1, out);
                }
            }
        } while (got == AT_ONCE);
    }
    fclose(out);
    printf("{\"datagrams\": [");
    for (int n = 0; n < count; n++) printf("%s%llu", n ? ", " : "", (unsigned long long)counts[n]);
    printf("], \"overflowed\": [");
    for (int n = 0; n < count; n++) {
        uint32_t memory[SK_MEMINFO_VARS] = {0};
        socklen_t size = sizeof memory;
        getsockopt(sockets[n], SOL_SOCKET, SO_MEMINFO, memory, &size);
        printf("%s%u", n ? ", " : "", memory[SK_MEMINFO_DROPS]);
    }
    printf("]}\n");
}

// One datagram from `in`, where there is one, with its record, whose place is 0 towards the target and 1 back.
static ssize_t pass_on(int in, struct sockaddr_in *from, FILE *out, int place, uint8_t *datagram) {
    uint8_t control[128];
    struct iovec part = {datagram, LARGEST};
    struct msghdr message = {from, sizeof *from, &part, 1, control, sizeof control, 0};
    ssize_t size = recvmsg(in, &message, MSG_DONTWAIT);
    if (size >= 0) {
        struct record line = {arrived_ns(&message), place, size, 0};
        fwrite(&line, sizeof line, 1, out);
    }
    return size;
}

static void tap(FILE *out, int port, int target_port) {
    static uint8_t datagram[LARGEST];
    struct sockaddr_in client = {0}, unused, target = loopback(target_port);
    struct pollfd ways[] = {{receiver(port, 1), POLLIN, 0}, {receiver(0, 1), POLLIN, 0}};
    connect(ways[1].fd, (struct sockaddr *)&target, sizeof target);
    uint64_t count = 0;
    while (!ended) {
        if (poll(ways, 2, 100) <= 0) continue;
        for (ssize_t size; (size = pass_on(ways[0].fd, &client, out, 0, datagram)) >= 0; count++) send(ways[1].fd, datagram, size, 0);
        for (ssize_t size; client.sin_port && (size = pass_on(ways[1].fd, &unused, out, 1, datagram)) >= 0;)
            sendto(ways[0].fd, datagram, size, 0, (struct sockaddr *)&client, sizeof client);
    }
    fclose(out);
    printf("{\"datagrams\": [%llu]}\n", (unsigned long long)count);
}

static FILE *written(const char *name) {
    FILE *out = fopen(name, "wb");
    if (!out) fail(name);
    return out;
}

int main(int count, char **words) {
    struct sigaction quietly = {.sa_handler = on_signal};
    sigaction(SIGINT, &quietly, NULL);
    sigaction(SIGTERM, &quietly, NULL);
    prctl(PR_SET_TIMERSLACK, 1);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    const char *mode = count > 4 ? words[1] : "";
    if (count - 4 > MOST) mode = "";
    if (!strcmp(mode, "pace") && count > 6) pace(words[2], atof(words[3]), atof(words[4]), atof(words[5]), words + 6, count - 6);
    else if (!strcmp(mode, "sink")) sink(written(words[2]), atoi(words[3]), NULL, words + 4, count - 4);
    else if (!strcmp(mode, "collect")) sink(written(words[2]), 0, words[3], words + 4, count - 4);
    else if (!strcmp(mode, "tap")) tap(written(words[2]), atoi(words[3]), atoi(words[4]));
    else {
        fprintf(stderr, "usage: ports pace FILE RATE_BPS BURST_MS SECONDS PORT… | sink FILE RECORDED PORT… | tap FILE PORT TARGET | collect FILE ts|rtp PORT…\n");
        return 2;
    }
    return 0;
}
