/* config_clients.h: client-quota, an option that is a list: of whom how much is taken. A part of config_table.c. Pure. */
#ifndef CRIER_BROKER_CONFIG_CLIENTS_H
#define CRIER_BROKER_CONFIG_CLIENTS_H

#include "broker/config.h"

/* Adds what the text names, with commas between them: "importer=5000:10M, reports=none". 0 or -EINVAL. */
int parse_client_quotas(void *target, const char *text, char *error, size_t error_size);
void format_client_quotas(const struct config_client_quotas *quotas, char *to, size_t size);

#endif
