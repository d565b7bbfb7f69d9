/* crier/transform.h: what stands between the ends of streams: compressing and decompressing, tables of comma-separated values.
 *
 *     crier_file_readable(bus, pool, "orders.csv.zst", &file);
 *     crier_decompress(bus, NULL, &plain);
 *     crier_csv_reader(bus, NULL, &rows);
 *     crier_topic_writable(bus, "orders", NULL, &topic);
 *     crier_stream *all[] = {file, plain, rows, topic};
 *     crier_pipeline(bus, all, 4, &done);                   fulfilled when the last event is acknowledged; or why not
 *
 * Made on any thread, and returned with one reference, as all of <crier/stream_ends.h>. They compute 64 KiB at a time, on the
 * bus's loop or, compressing and decompressing, on a worker pool if one is given, and hold what is written back while nobody reads:
 * memory is constant, whatever the bytes are. */
#ifndef CRIER_TRANSFORM_H
#define CRIER_TRANSFORM_H

#include <crier/pool.h>
#include <crier/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- frames of zstd (RFC 8878) and lz4, as the tools `zstd` and `lz4` read and write them ---- */

/* How to compress. From crier_compress_options_default(). */
struct crier_compress_options {
    size_t struct_size; /* set by crier_compress_options_default() */
    enum crier_compression
        codec; /* CRIER_COMPRESSION_ZSTD or CRIER_COMPRESSION_LZ4; default CRIER_COMPRESSION_ZSTD */
    int level; /* more is smaller and slower; zstd: up to 22, lz4: up to 12; less than 0 is faster; default 0: the codec's own */
    bool checksum; /* of the whole, at the end of the frame, as the tools have it; default true */
    /* where it computes, one step of 64 KiB after the other; lives longer than the bus; default NULL: on the bus's loop, which a high
     * level keeps waiting (level 19: tens of milliseconds a step) */
    crier_pool *pool;
};

/** The defaults; see the fields. */
static inline struct crier_compress_options crier_compress_options_default(void)
{
    struct crier_compress_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.codec = CRIER_COMPRESSION_ZSTD;
    options.checksum = true;
    return options;
}

/** Bytes to one frame, which is whole when the stream has ended; of nothing, too. options: borrowed, NULL: the defaults.
 *  0, CRIER_EINVAL (no such codec or level), CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_compress(crier *bus, const struct crier_compress_options *options,
                             crier_stream **ret_stream);

/* What to take. From crier_decompress_options_default(). */
struct crier_decompress_options {
    size_t struct_size; /* set by crier_decompress_options_default() */
    enum crier_compression
        codec; /* other frames are CRIER_ECORRUPT; default CRIER_COMPRESSION_NONE: both, each by its first bytes */
    uint64_t size_max; /* bytes of what comes out; more is CRIER_ETOOBIG; default 0: no limit */
    /* bytes of memory a frame of zstd may ask for; more is CRIER_ETOOBIG; 1 KiB or more, rounded down to a power of two; default
     * 0: 128 MiB, as the tool; what its levels up to 19 write asks for 8 MiB at most */
    size_t window_size_max;
    crier_pool *pool; /* as crier_compress_options.pool */
};

/** The defaults; see the fields. */
static inline struct crier_decompress_options crier_decompress_options_default(void)
{
    struct crier_decompress_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    return options;
}

/** One or more frames, one after the other, to the bytes in them; frames to be skipped are. What is no frame, is damaged, or ends
 *  before its frame does fails the stream with CRIER_ECORRUPT, so does nothing at all; what came before may have been handed out
 *  by then, but no end follows it. Frames of `lz4 -l` and those that need a dictionary are not read.
 *  options: borrowed, NULL: the defaults. 0, CRIER_EINVAL, CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_decompress(crier *bus, const struct crier_decompress_options *options,
                               crier_stream **ret_stream);

/* ---- comma-separated values (RFC 4180) ---- */

/* What a table looks like. From crier_csv_options_default(). */
struct crier_csv_options {
    size_t struct_size; /* set by crier_csv_options_default() */
    char delimiter;     /* between fields; default ','; no quote, line end or NUL */
    bool names; /* the first row names the columns, and is no event; default true. false: "1", "2", ... */
    const char *
        key_column; /* reader: the field of this column is the event's key, too; copied; default NULL: no keys */
    size_t row_size_max; /* reader: bytes of a row, line ends in it included; default 0: 1 MiB */
    bool lf;             /* writer: rows end in LF alone; default false: in CRLF, as the RFC has it */
};

/** The defaults; see the fields. */
static inline struct crier_csv_options crier_csv_options_default(void)
{
    struct crier_csv_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.delimiter = ',';
    options.names = true;
    return options;
}

/** Bytes to items, one for each row. An item's headers are the fields, by their columns' names, without quotes, in order; its value is
 *  the row as it stands, without its line end. Rows end in CRLF or LF; a quoted field may hold delimiters, line ends and doubled
 *  quotes; a byte order mark is skipped; an empty line is no row. Everything else is CRIER_ECORRUPT, and the text says in which
 *  line: a quote in a field without quotes, bytes behind a closing one, one that is not closed, a carriage return by itself, and a
 *  row with more or fewer fields than the first. Rows above the limit are CRIER_ETOOBIG, no such key_column is CRIER_EINVAL.
 *  options: borrowed, NULL: the defaults. 0, CRIER_EINVAL, CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_csv_reader(crier *bus, const struct crier_csv_options *options,
                               crier_stream **ret_stream);
/** Items to rows: an item's headers are its fields, those of the first name the columns. A field is quoted if it has to be. An item with
 *  other headers than the first fails the stream with CRIER_EINVAL; without any, its value is its only field, "value".
 *  options: borrowed, NULL: the defaults. 0, CRIER_EINVAL, CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_csv_writer(crier *bus, const struct crier_csv_options *options,
                               crier_stream **ret_stream);

#ifdef __cplusplus
}
#endif

#endif
