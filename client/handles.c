/* handles.c: the kinds of handles, and what has ended one that is no more. Nothing but words. */
#include "client/handles.h"

#include <stddef.h> /* not an empty translation unit without CRIER_DEBUG */

#ifdef CRIER_DEBUG

struct handle_kind bus_handles = {
    "bus", "crier_close() has freed it; let everybody who uses it come to an end before", {0}};
struct handle_kind listener_handles = {
    "listener", "its `released` has run, after which nobody may use it; forget it there", {0}};
struct handle_kind topic_handles = {"interned topic", "crier_close() of its bus has freed it", {0}};
struct handle_kind stream_handles = {
    "stream",
    "it has closed, and crier_stream_release() gave back the last reference; retain one for each who uses it",
    {0}};
struct handle_kind iterator_handles = {"iterator", "crier_iterator_close() has ended it", {0}};
struct handle_kind pool_handles = {"worker pool", "crier_pool_destroy() has freed it", {0}};
struct handle_kind shutdown_handles = {"shutdown manager", "crier_shutdown_close() has freed it", {0}};

#endif
