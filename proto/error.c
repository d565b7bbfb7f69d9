/* error.c: numbers, names and texts of the error codes, from the one table in error.h. */
#include "proto/error.h"

#include "base/check.h"

#include <stddef.h>

struct error_row {
    int code;
    bool retriable;
    const char *name, *text;
};

static const struct error_row rows[] = {
#define ERROR_ROW(name, number, retriable, text) {number, retriable, #name, text},
    ERROR_MAP(ERROR_ROW)
#undef ERROR_ROW
};

static const struct error_row *row_of(int code)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].code == code)
            return &rows[i];
    return NULL;
}

const char *error_text(int code)
{
    const struct error_row *row = row_of(code);
    return row ? row->text : code == 0 ? "ok" : "an error this version does not know";
}

const char *error_name(int code)
{
    const struct error_row *row = row_of(code);
    return row ? row->name : code == 0 ? "CRIER_OK" : "CRIER_E?";
}

bool error_retriable(int code)
{
    const struct error_row *row = row_of(code);
    return row && row->retriable;
}
