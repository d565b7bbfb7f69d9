// uses_everything.cc: the public header in C++: every options struct, a handler, a bus. Built with -Wall -Wextra -pedantic
// -Werror by each C++ compiler there is; run on an embed: bus.
#include <crier/crier.h>
#include <crier/presence.h>
#include <crier/schedule.h>

#include <cstdio>
#include <string>

namespace {

int on_event(crier *, const crier_event *event, void *ctx)
{
    *static_cast<std::string *>(ctx) = std::string(static_cast<const char *>(event->value), event->value_size);
    return 0;
}

bool works(const char *url)
{
    crier_options options = crier_options_default();
    crier_emit_options emit = crier_emit_options_default();
    crier_listen_options listen = crier_listen_options_default();
    crier_topic_options topic = crier_topic_options_default();
    crier_group_seek_options seek = crier_group_seek_options_default();
    crier_later_options later = crier_later_options_default();
    std::string heard;
    crier *bus = nullptr;

    options.polled = true;
    options.name = "c++";
    later.delay_us = 3600 * INT64_C(1000000);
    later.emit = &emit;
    emit.key = "key";
    emit.key_size = 3;
    topic.partitions = 2;
    topic.dead_letter = "t.failed";
    listen.group = "g";
    seek.to = CRIER_EARLIEST;
    if (crier_open(url, &options, &bus) != CRIER_OK || crier_topic_create(bus, "t", &topic) != CRIER_OK ||
        crier_emit_with(bus, "t", "x", 1, &emit) != CRIER_OK || crier_emit_later(bus, "t", "y", 1, &later) != CRIER_OK || crier_flush(bus, -1) != CRIER_OK ||
        crier_group_seek(bus, "g", "t", &seek) != CRIER_OK ||
        crier_listen(bus, "t", &listen, on_event, &heard, nullptr) != CRIER_OK)
        return false;
    while (heard.empty()) {
        std::int64_t us;
        if (crier_ping(bus, &us) != CRIER_OK)
            return false;
    }
    return crier_close(bus) == CRIER_OK && heard == "x";
}

} // namespace

int main(int argc, char **argv)
{
    bool worked = argc > 1 && works(argv[1]);
    std::puts(worked ? "ok" : "failed");
    return worked ? 0 : 1;
}
