/* reply.h: how a request says where its reply goes, and a reply whose it is: docs/protocol.md, "Requests". Any thread. */
#ifndef CRIER_CLIENT_REPLY_H
#define CRIER_CLIENT_REPLY_H

#include "crier/request.h"

#define REPLY_TO_HEADER   "crier-reply-to" /* of a request: an address */
#define REPLY_CODE_HEADER "crier-code"     /* of a reply that says something failed: the code, in decimal */

/* An address: an inbox, ':' and the request's number. */
void reply_address_make(char to[CRIER_REPLY_ADDRESS_SIZE], const char *inbox, uint64_t number);
int reply_code(const crier_event *reply); /* 0, or < 0: the other side failed */

#endif
