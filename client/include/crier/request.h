/* request.h: questions and answers: one event asks, whoever listens replies, to the one who asked.
 *
 *     static int on_quote(crier *bus, const crier_event *event, void *ctx)           somebody who answers
 *     {
 *         return crier_reply(bus, event, "42", 2);
 *     }
 *     crier_on(bus, "quotes", on_quote, NULL);
 *
 *     crier_future *answer;                                                           somebody who asks
 *     crier_request(bus, "quotes", "CRIER", 5, NULL, &answer);
 *     if (crier_future_wait(answer, -1, &result) == 0) ... result.pointer, result.size ...
 *     crier_future_release(answer);
 *
 * A request is an event like any other, on any topic; on one that is ephemeral (crier_topic_options) it costs no disk, and a topic
 * that a request makes is. Its reply goes through memory to an inbox that the bus has for all of its requests. Both go at most
 * once: what is lost with a connection is not sent again, and the request times out.
 *
 * NOBODY. If nobody listens to the topic (its partition), a request fails at once, with CRIER_ENOLISTENER.
 *
 * SEVERAL. With several listeners each of them replies. The first reply counts, or, with options.replies, so many are gathered;
 * futures of requests to different topics go together with crier_future_all(), _any(), _race() and _all_settled().
 *
 * LOCAL. A bus of local: has none of this: CRIER_ENOTSUP. On embed: it is as on crier://.
 *
 * THREADS. Any thread may ask and reply; `replied` and continuations run on the loop's. The rest is as in crier.h. */
#ifndef CRIER_REQUEST_H
#define CRIER_REQUEST_H

#include <crier/future.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One reply: code 0, or < 0: the other side says that it failed, in words in the value. reply NULL: there will be no more, and
 *  code says why: CRIER_ETIMEDOUT, CRIER_ENOLISTENER, CRIER_EUNKNOWN (the connection was lost while it was sent), CRIER_ECLOSED,
 *  ... reply: borrowed; its key is the library's. */
typedef void crier_replied(crier *bus, int code, const crier_event *reply, void *ctx);

/** How to ask. From crier_request_options_default(). */
struct crier_request_options {
    size_t struct_size;          /* set by crier_request_options_default() */
    const void *key;             /* of the event; copied; default NULL */
    size_t key_size;             /* bytes */
    const crier_header *headers; /* of the event, beside the library's own; copied; default NULL */
    size_t header_count;         /* of headers */
    int timeout_ms;              /* 1 or more; default 5000 */
    /* So many replies are gathered, 1 to 1000; after the timeout those there are (none: CRIER_ETIMEDOUT). The future then has
     * an array of crier_result, one for each, in the order they came, failures too; default 0: one, as it is */
    uint32_t replies;
    /* Instead of a future: called for each reply, until `replies` have come, or once without one. default NULL */
    crier_replied *replied;
    void *ctx; /* for replied */
};

/** The defaults; see the fields. */
static inline struct crier_request_options crier_request_options_default(void)
{
    struct crier_request_options options;
    memset(&options, 0, sizeof(options));
    options.struct_size = sizeof(options);
    options.timeout_ms = 5000;
    return options;
}

/** Asks. The future is fulfilled with the reply's value (pointer, with a NUL behind its size), or rejected: with what the other side
 *  said (code; in pointer and size its words), or as `replied` is told. ret_future: NULL exactly if options.replied is set.
 *  0, or as crier_emit(): then nothing was asked. */
CRIER_API int crier_request(crier *bus, const char *topic, const void *value, size_t value_size,
                            const struct crier_request_options *options, crier_future **ret_future);

/** Replies to a request, inside its handler, also on a pool. One that nobody waits for any more is dropped. 0, CRIER_EINVAL (the
 *  event is no request), or as crier_emit(). */
CRIER_API int crier_reply(crier *bus, const crier_event *request, const void *value, size_t value_size);
/** The same: it failed. code: < 0; text: why, in words. */
CRIER_API int crier_reply_failed(crier *bus, const crier_event *request, int code, const char *text);

#define CRIER_REPLY_ADDRESS_SIZE 48 /* bytes, with the NUL */
/** Where the reply goes, for crier_reply_to(), later. 0, or CRIER_EINVAL: it is no request. */
CRIER_API int crier_reply_address(const crier_event *request, char to[CRIER_REPLY_ADDRESS_SIZE]);
/** Replies later, from any thread, on any bus to the same broker. code: 0, or < 0: it failed, and the value says why. Returns as
 *  crier_reply(). */
CRIER_API int crier_reply_to(crier *bus, const char *address, int code, const void *value, size_t value_size);

#ifdef __cplusplus
}
#endif

#endif
