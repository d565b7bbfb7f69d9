/* test_client_install.c: libcrier is installed and used from outside the tree: with CMake, and with pkg-config both ways.
 *
 * Promise: what `cmake --install` leaves is enough to build and run an application, and the libraries show the public
 * API only. */
#include "tests/support/broker_fixture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Runs a shell command; its output is shown when it fails. */
__attribute__((format(printf, 2, 3))) static bool run(const char *folder, const char *format, ...)
{
    char command[4096], line[8192];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    snprintf(line, sizeof(line), "cd '%s' && (%s) >log 2>&1 || (cat log; false)", folder, command);
    if (system(line) == 0)
        return true;
    fprintf(stderr, "failed: %s\n", command);
    return false;
}

static bool hello_works(const char *folder, const char *binary, const char *libraries, const char *url)
{
    return run(folder, "LD_LIBRARY_PATH=%s %s %s >out && grep -qx 'heard world' out", libraries, binary, url);
}

static bool installs(const char *folder)
{
    static const char *const components[] = {"libcrier", "libcrier-embed", "libcrier-dev", "crierd", "crier"};
    for (size_t i = 0; i < sizeof(components) / sizeof(components[0]); i++)
        if (!run(folder, CMAKE " --install '" BUILD "' --prefix prefix --component %s", components[i]))
            return false;
    return true;
}

/* What the library shows is crier_* and nothing else, in both its forms; the shared one has its name. */
static bool shows_the_api_only(const char *folder, const char *libraries, const char *name)
{
    return run(folder, "test \"$(nm -D --defined-only %s/lib%s.so | grep -vc ' crier_\\| CRIER_0')\" = 0",
               libraries, name) &&
           run(folder,
               "test \"$(nm --defined-only %s/lib%s.a | grep ' [TDBRVW] ' | grep -vc ' crier_')\" = 0",
               libraries, name) &&
           run(folder, "nm -D --defined-only %s/lib%s.so | grep -q ' T crier_open'", libraries, name) &&
           run(folder, "readelf -d %s/lib%s.so | grep -q 'SONAME.*lib%s.so.0'", libraries, name, name);
}

/* Nothing is anywhere else, and what names files names those. */
static bool is_all_below_the_prefix(const char *folder)
{
    return run(folder, "test -f prefix/etc/crier/crierd.conf") &&
           run(folder,
               "grep -qx 'ExecStart=%s/prefix/bin/crierd --config %s/prefix/etc/crier/crierd.conf' "
               "prefix/lib/systemd/system/crierd.service",
               folder, folder) &&
           run(folder, "prefix/bin/crierd --config prefix/etc/crier/crierd.conf --check-config");
}

/* With pkg-config, shared and static. */
static bool pkg_config_works(const char *folder, const char *libraries, const char *name, const char *url)
{
    char pkg_config[1024];

    snprintf(pkg_config, sizeof(pkg_config), "PKG_CONFIG_PATH=%s/pkgconfig pkg-config", libraries);
    return run(folder, COMPILER " -o shared '" SOURCE "/hello.c' $(%s --cflags --libs %s)", pkg_config,
               name) &&
           hello_works(folder, "./shared", libraries, url) &&
           run(folder,
               COMPILER " -o static '" SOURCE "/hello.c' $(%s --cflags %s) %s/lib%s.a "
                        "$(%s --static --libs %s | sed 's/-l%s//')",
               pkg_config, name, libraries, name, pkg_config, name, name) &&
           hello_works(folder, "./static", "/nonexistent", url);
}

static bool cmake_works(const char *folder, const char *libraries, const char *url)
{
    return run(folder,
               CMAKE " -S '" SOURCE "' -B cmake -DCMAKE_PREFIX_PATH=%s/prefix -DCMAKE_C_COMPILER=" COMPILER
                     " && " CMAKE " --build cmake",
               folder) &&
           hello_works(folder, "cmake/hello", libraries, url) &&
           hello_works(folder, "cmake/hello_embed", libraries, "embed:cmake-data") &&
           hello_works(folder, "cmake/hello_static", "/nonexistent", url) &&
           hello_works(folder, "cmake/hello_embed_static", "/nonexistent", "embed:cmake-data");
}

static bool all_ways_work(const char *folder, const char *url)
{
    char libraries[512];

    snprintf(libraries, sizeof(libraries), "%s/prefix/" LIBDIR, folder);
    return installs(folder) && is_all_below_the_prefix(folder) &&
           shows_the_api_only(folder, libraries, "crier") &&
           shows_the_api_only(folder, libraries, "crier-embed") && cmake_works(folder, libraries, url) &&
           pkg_config_works(folder, libraries, "crier", url) &&
           pkg_config_works(folder, libraries, "crier-embed", url) &&
           pkg_config_works(folder, libraries, "crier-embed", "embed:data");
}

int main(void)
{
    char folder[] = "/tmp/crier-install-XXXXXX";
    struct broker *broker = broker_start(NULL);
    bool worked;

    if (!broker || !mkdtemp(folder))
        return 1;
    worked = all_ways_work(folder, broker_url(broker));
    if (worked)
        worked = run("/tmp", "rm -rf %s", folder);
    return broker_destroy(broker) == 0 && worked ? 0 : 1;
}
