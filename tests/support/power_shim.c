/* power_shim.c: see power_shim.h. Linked with disk_power.c, which notes the calls. */
#include "tests/support/power_shim.h"

#include "tests/support/disk_power.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void on_call(void *ctx, const struct disk_power_call *call)
{
    struct power_shim *power = ctx;
    uint64_t cut_at = atomic_load(&power->cut_at);
    atomic_store(&power->calls, call->number);
    if (cut_at == 0 || call->number < cut_at)
        return;
    struct random random = random_seeded(power->seed);
    disk_power_image(power->image, &random);
    struct disk_power_losses losses = disk_power_losses();
    power->torn = losses.torn;
    power->lost = losses.lost;
    power->lengths = losses.lengths;
    power->names = losses.names;
    kill(getpid(), SIGKILL);
    for (;;)
        pause(); /* nobody gets past the moment */
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CRIER_POWER_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    struct power_shim *power = mmap(NULL, sizeof(*power), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (power != MAP_FAILED && power->folder[0] != '\0')
        disk_power_begin(power->folder, on_call, power);
}
