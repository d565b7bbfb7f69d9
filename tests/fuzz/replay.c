/* replay.c: a fuzz target without a fuzzer: over the corpus on disk, the generated seeds, and mutations of both.
 *
 *   test_fuzz_NAME NAME CORPUS_FOLDER
 *
 * The corpus holds seeds and every input that once failed. The mutations are the same in every run, so a failure can be
 * looked at again in a debugger; CHECK and the sanitizers say what broke. */
#include "tests/fuzz/fuzz.h"

#include "base/check.h"
#include "base/random.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUTS_MAX       1024
#define MUTATIONS        20000
#define SCRIPT_MUTATIONS 3000 /* of inputs that are whole stories: they take longer */
#define INPUT_MAX        (SEED_SIZE_MAX + 64)

struct input {
    uint8_t *bytes;
    size_t size;
};

struct inputs {
    struct input list[INPUTS_MAX];
    size_t count;
};

static void input_add(struct inputs *inputs, const uint8_t *bytes, size_t size)
{
    CHECK(inputs->count < INPUTS_MAX); /* a corpus is small: see fuzz.cmake */
    struct input *input = &inputs->list[inputs->count++];
    input->bytes = malloc(size ? size : 1);
    CHECK(input->bytes);
    memcpy(input->bytes, bytes, size);
    input->size = size;
}

static void read_corpus(struct inputs *inputs, const char *folder)
{
    DIR *directory = opendir(folder);
    CHECK(directory);
    for (const struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.')
            continue;
        static uint8_t bytes[256 * 1024];
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        FILE *file = fopen(path, "rb");
        CHECK(file);
        input_add(inputs, bytes, fread(bytes, 1, sizeof(bytes), file));
        fclose(file);
    }
    closedir(directory);
}

static void make_seeds(struct inputs *inputs, size_t (*seed)(unsigned, uint8_t *))
{
    uint8_t bytes[SEED_SIZE_MAX];
    size_t size;
    for (unsigned number = 0; (size = seed(number, bytes)) > 0; number++)
        input_add(inputs, bytes, size);
}

/* One small change; returns the new size. */
static size_t mutate(struct random *random, uint8_t *bytes, size_t size, const struct input *other)
{
    static const uint8_t hard[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe, 0x40, 0x0f};
    size_t at = size ? (size_t)random_below(random, size) : 0;
    switch (random_below(random, 6)) {
    case 0: /* a bit */
        if (size)
            bytes[at] ^= (uint8_t)(1u << random_below(random, 8));
        return size;
    case 1: /* a byte that is often an edge */
        if (size)
            bytes[at] = hard[random_below(random, sizeof(hard))];
        return size;
    case 2: /* cut off */
        return at;
    case 3: /* cut out */
        memmove(bytes + at, bytes + at + (at < size), size - at - (at < size));
        return size - (at < size);
    case 4: /* put in */
        if (size >= INPUT_MAX)
            return size;
        memmove(bytes + at + 1, bytes + at, size - at);
        bytes[at] = hard[random_below(random, sizeof(hard))];
        return size + 1;
    default: { /* the rest of another input */
        size_t from = other->size ? (size_t)random_below(random, other->size) : 0, more = other->size - from;
        if (at + more > INPUT_MAX)
            more = INPUT_MAX - at;
        memcpy(bytes + at, other->bytes + from, more);
        return at + more;
    }
    }
}

static void run_mutations(const struct inputs *inputs, size_t mutations)
{
    struct random random = random_seeded(2026);
    for (size_t i = 0; i < mutations; i++) {
        const struct input *input = &inputs->list[random_below(&random, inputs->count)];
        const struct input *other = &inputs->list[random_below(&random, inputs->count)];
        uint8_t bytes[INPUT_MAX];
        size_t size = input->size < INPUT_MAX ? input->size : INPUT_MAX;
        memcpy(bytes, input->bytes, size);
        for (uint64_t changes = 1 + random_below(&random, 4); changes > 0; changes--)
            size = mutate(&random, bytes, size, other);
        uint8_t *exact = malloc(size ? size : 1); /* exactly as large, so that a byte beyond is seen */
        CHECK(exact);
        memcpy(exact, bytes, size);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
    }
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    struct inputs inputs = {0};
    read_corpus(&inputs, argv[2]);
    size_t on_disk = inputs.count;
    CHECK(on_disk > 0);
    if (!strcmp(argv[1], "frame") || !strcmp(argv[1], "batch"))
        make_seeds(&inputs, !strcmp(argv[1], "frame") ? seed_frame : seed_batch);
    size_t mutations = !strcmp(argv[1], "frame") || !strcmp(argv[1], "batch") ? MUTATIONS : SCRIPT_MUTATIONS;
    for (size_t i = 0; i < inputs.count; i++)
        LLVMFuzzerTestOneInput(inputs.list[i].bytes, inputs.list[i].size);
    run_mutations(&inputs, mutations);
    printf("%zu inputs of the corpus, %zu seeds, %zu mutations\n", on_disk, inputs.count - on_disk,
           mutations);
    for (size_t i = 0; i < inputs.count; i++)
        free(inputs.list[i].bytes);
    return 0;
}
