/* registry.c: the brokers of this process. See registry.h.
 *
 * Owns:      the list of shares; a share owns its broker and log, and lives while members or somebody waiting need it.
 *
 * Happy path:  join: the first one makes the share STARTING, starts the broker without the lock, RUNNING; the others wait
 *              and count themselves → leave: the last one makes it STOPPING, stops the broker without the lock, frees
 * Failures:    the broker does not start: the share goes, whoever waited tries for himself. */
#include "embed/registry.h"

#include "crier/crier.h"
#include "embed/host.h"
#include "storage/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum share_state { SHARE_STARTING, SHARE_RUNNING, SHARE_STOPPING };

struct member {
    struct member *next; /* of the share; under its log_lock */
    struct share *share;
    embed_log *log;
    void *ctx;
};

struct share {
    struct share *next;
    dev_t device;
    ino_t inode;
    enum share_state state;
    unsigned count; /* of members */
    struct config config;
    struct host *host;
    struct log *log;
    pthread_mutex_t log_lock; /* held while lines are handed out */
    struct member *members;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a share has another state, or is gone */
    struct share *shares;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- log lines ---- */

static void log_hand_out(void *ctx, enum log_level level, const char *line)
{
    struct share *share = ctx;
    (void)level;
    pthread_mutex_lock(&share->log_lock);
    for (struct member *member = share->members; member; member = member->next)
        if (member->log)
            member->log(line, member->ctx);
    pthread_mutex_unlock(&share->log_lock);
}

static void member_add(struct share *share, struct member *member)
{
    member->share = share;
    pthread_mutex_lock(&share->log_lock);
    member->next = share->members;
    share->members = member;
    pthread_mutex_unlock(&share->log_lock);
}

static void member_remove(struct share *share, struct member *member)
{
    pthread_mutex_lock(&share->log_lock);
    struct member **at = &share->members;
    while (*at != member)
        at = &(*at)->next;
    *at = member->next;
    pthread_mutex_unlock(&share->log_lock);
}

/* ---- shares ---- */

static void share_free(struct share *share)
{
    log_close(share->log);
    pthread_mutex_destroy(&share->log_lock);
    free(share);
}

static struct share *share_make(const struct embed_url *url, const struct stat *folder)
{
    struct share *share = calloc(1, sizeof(*share));
    if (!share)
        return NULL;
    share->device = folder->st_dev;
    share->inode = folder->st_ino;
    share->config = url->config;
    if (pthread_mutex_init(&share->log_lock, NULL) != 0) {
        free(share);
        return NULL;
    }
    if (log_open_sink(log_hand_out, share, LOG_FORMAT_TEXT, url->config.log_level, &share->log) < 0) {
        share_free(share);
        return NULL;
    }
    return share;
}

static struct share *share_find_locked(const struct stat *folder)
{
    struct share *share = registry.shares;
    while (share && (share->device != folder->st_dev || share->inode != folder->st_ino))
        share = share->next;
    return share;
}

static void share_unlink_locked(struct share *share)
{
    struct share **at = &registry.shares;
    while (*at != share)
        at = &(*at)->next;
    *at = share->next;
    pthread_cond_broadcast(&registry.changed);
}

/* What the URL asks for, this broker must be: options are not changed behind another bus's back. */
static int share_check(const struct share *share, const struct embed_url *url, char *error, size_t error_size)
{
    size_t count;
    const struct option_row *rows = config_rows(&count);
    for (size_t i = 0; i < count; i++) {
        char here[CONFIG_VALUE_SIZE], wanted[CONFIG_VALUE_SIZE];
        if (url->sources[i] != OPTION_ARGUMENT)
            continue;
        config_row_text(&rows[i], &share->config, here);
        config_row_text(&rows[i], &url->config, wanted);
        if (strcmp(here, wanted) == 0)
            continue;
        (void)snprintf(error, error_size, "%s is open in this process with %s=%.100s already", url->folder,
                       rows[i].name, here);
        return CRIER_EBUSY;
    }
    return 0;
}

/* Starts the broker of a share that is STARTING; without the lock. */
static int share_start(struct share *share, const struct embed_url *url, char *error, size_t error_size)
{
    struct config config = share->config;
    config.data = url->folder;
    int rc = host_start(&config, share->log, &share->host, error, error_size);
    pthread_mutex_lock(&registry.lock);
    share->state = SHARE_RUNNING;
    if (rc < 0)
        share_unlink_locked(share);
    pthread_cond_broadcast(&registry.changed);
    pthread_mutex_unlock(&registry.lock);
    return rc;
}

/* ---- joining and leaving ---- */

static int folder_look(const struct embed_url *url, struct stat *ret_folder, char *error, size_t error_size)
{
    int rc = url->create ? store_lmdb_make_folder(url->folder, error, error_size) : 0;
    if (rc == 0 && stat(url->folder, ret_folder) < 0) {
        rc = errno == ENOENT ? CRIER_ECONNECT : CRIER_EIO;
        (void)snprintf(error, error_size, "cannot open the data folder %s: %s", url->folder, strerror(errno));
    }
    return rc;
}

/* The folder's share: found RUNNING, *ret_is_new false; or put on the list by us, STARTING. NULL: no memory. */
static struct share *share_take(const struct embed_url *url, const struct stat *folder, bool *ret_is_new)
{
    struct share *share;
    pthread_mutex_lock(&registry.lock);
    while ((share = share_find_locked(folder)) && share->state != SHARE_RUNNING)
        pthread_cond_wait(&registry.changed, &registry.lock);
    *ret_is_new = !share;
    if (!share && (share = share_make(url, folder))) {
        share->next = registry.shares;
        registry.shares = share;
    }
    if (share)
        share->count++;
    pthread_mutex_unlock(&registry.lock);
    return share;
}

int registry_join(const struct embed_url *url, embed_log *log, void *ctx, struct member **ret_member,
                  char *error, size_t error_size)
{
    struct stat folder;
    bool is_new;
    int rc = folder_look(url, &folder, error, error_size);
    if (rc != 0)
        return rc;
    struct member *member = calloc(1, sizeof(*member));
    struct share *share = member ? share_take(url, &folder, &is_new) : NULL;
    if (!share) {
        free(member);
        (void)snprintf(error, error_size, "out of memory");
        return CRIER_ENOMEM;
    }
    *member = (struct member){.log = log, .ctx = ctx};
    member_add(share, member);
    rc = is_new ? share_start(share, url, error, error_size) : share_check(share, url, error, error_size);
    if (rc == 0) {
        *ret_member = member;
    } else if (is_new) { /* off the list: nobody else has it */
        share_free(share);
        free(member);
    } else {
        registry_leave(member);
    }
    return rc;
}

int registry_connect(struct member *member)
{
    return host_connect(member->share->host);
}

void registry_leave(struct member *member)
{
    struct share *share = member->share;
    pthread_mutex_lock(&registry.lock);
    bool last = --share->count == 0;
    if (last)
        share->state = SHARE_STOPPING;
    pthread_mutex_unlock(&registry.lock);
    if (last)
        host_stop(share->host); /* its last lines are for the last member */
    member_remove(share, member);
    free(member);
    if (!last)
        return;
    pthread_mutex_lock(&registry.lock);
    share_unlink_locked(share);
    pthread_mutex_unlock(&registry.lock);
    share_free(share);
}
