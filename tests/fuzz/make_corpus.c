/* make_corpus.c: writes the generated seeds as files, to begin a corpus with.
 *
 *   fuzz_make_corpus frame|batch FOLDER */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s frame|batch FOLDER\n", argv[0]);
        return 2;
    }
    size_t (*seed)(unsigned, uint8_t *) = strcmp(argv[1], "frame") == 0 ? seed_frame : seed_batch;
    uint8_t bytes[SEED_SIZE_MAX];
    size_t size;
    for (unsigned number = 0; (size = seed(number, bytes)) > 0; number++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/seed-%02u", argv[2], number);
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
}
