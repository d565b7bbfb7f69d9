/* crier/stream_ends.h: where streams begin and end, and what is in between: topics, files, descriptors, lines.
 *
 *     crier_file_readable(bus, pool, "orders.txt", &file);
 *     crier_lines(bus, 0, &lines);
 *     crier_topic_writable(bus, "orders", NULL, &topic);
 *     crier_stream *all[] = {file, lines, topic};
 *     crier_pipeline(bus, all, 3, &done);                   fulfilled when the last event is acknowledged; or why not
 *
 * All are made on any thread and return one reference, for crier_stream_release(): <crier/stream.h>. A file of any size, and any number
 * of events, takes constant memory: what is above the high-water marks waits where it comes from. */
#ifndef CRIER_STREAM_ENDS_H
#define CRIER_STREAM_ENDS_H

#include <crier/pool.h>
#include <crier/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The topic's events, as items; it ends with its listener: after listen->count events, if that is not 0. listen: borrowed; NULL: the
 *  defaults; released and pool: not yours. What nobody reads is not asked for: no credit goes back, and the broker stops sending. With a group, an event counts as
 *  handled when the stream asks for the next one, which it does up to its high-water mark (16) ahead of who reads: after a crash those
 *  do not come again. 0, CRIER_EINVAL, CRIER_ENOMEM, CRIER_ECLOSED, or as crier_iterate(). */
CRIER_API int crier_topic_readable(crier *bus, const char *topic, const struct crier_listen_options *listen,
                                   crier_stream **ret_stream);
/** Emits each item on the topic, with its key, headers and time. emit: borrowed; NULL: the defaults; partition, durability,
 *  needs_listener count, the rest must be the defaults. FINISH comes when all is acknowledged; the first event that is not
 *  fails the stream, and nothing more is emitted. At most 1024 events are without an outcome; then the stream waits.
 *  0, CRIER_EINVAL, CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_topic_writable(crier *bus, const char *topic, const struct crier_emit_options *emit,
                                   crier_stream **ret_stream);
/** Bytes to items, one for each line, without its '\n'; what stands behind the last one is a line, too. line_size_max: bytes, 0: 1 MiB;
 *  a longer line fails the stream with CRIER_ETOOBIG. 0, CRIER_EINVAL, CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_lines(crier *bus, size_t line_size_max, crier_stream **ret_stream);
/** The file's bytes, 64 KiB at a time. path: copied. Opening, reading and closing are jobs of the pool, which must outlive the
 *  stream's CLOSE, and never keep the loop waiting. A failure is CRIER_EIO, with what the system says.
 *  0, CRIER_EINVAL, CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_file_readable(crier *bus, crier_pool *pool, const char *path, crier_stream **ret_stream);
/** The same for writing: the file is made, or emptied, with the first chunk or the end; FINISH comes after fsync. Who fails leaves
 *  what was written. Else as above. */
CRIER_API int crier_file_writable(crier *bus, crier_pool *pool, const char *path, crier_stream **ret_stream);
/** What comes through a descriptor: a pipe, a socket, a terminal; it ends where that does. fd: taken on success: made non-blocking,
 *  which all who share the open file see, and closed before CLOSE; who needs it longer, or for another stream, gives dup(fd). pool:
 *  for what cannot be waited for, a file on a disk above all: as crier_file_readable(), from where it stands; else NULL will do.
 *  A failure is CRIER_EIO, with what the system says. 0, CRIER_EINVAL (no descriptor, or not one for reading; it needs a pool),
 *  CRIER_ENOMEM, CRIER_ECLOSED. */
CRIER_API int crier_fd_readable(crier *bus, crier_pool *pool, int fd, crier_stream **ret_stream);
/** The same for writing. FINISH comes when the system has taken everything (a file: after fsync); the end of a socket is told to its peer,
 *  also while others have the socket. That nobody reads is a failure like others, without SIGPIPE. */
CRIER_API int crier_fd_writable(crier *bus, crier_pool *pool, int fd, crier_stream **ret_stream);
/** Both sides of one: a connected socket, a terminal. The end of one side leaves the other as it is. Else as above. */
CRIER_API int crier_fd_duplex(crier *bus, int fd, crier_stream **ret_stream);

#ifdef __cplusplus
}
#endif

#endif
