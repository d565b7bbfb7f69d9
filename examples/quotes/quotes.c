/* quotes.c: scatter and gather: one buyer asks three shops for a price, in four ways.
 *
 *     ask_quotes crier://127.0.0.1:27437        with a broker elsewhere
 *     ask_quotes embed:./data                   with the broker inside this process
 *
 *   race         the price of whoever answers first, whatever it says
 *   any          the first price there is: a shop that has nothing does not count, nor one that is closed
 *   all_settled  what everybody said
 *   replies      the same from a market, one topic on which all shops hear the same question
 *
 * A shop is a listener: it answers with crier_reply(), says "sold out" with crier_reply_failed(), or thinks for a while and answers
 * later with crier_reply_to(). "shop.closed" has no listener: to ask it fails at once. Prints what it got and checks it: exit
 * status 1 if something is not as it should be. */
#include <crier/request.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOPS 4

static bool as_it_should_be = true;

static void expect(bool right, const char *what)
{
    if (!right)
        fprintf(stderr, "quotes: not as it should be: %s\n", what);
    as_it_should_be &= right;
}

/* ---- the shops ---- */

struct shop {
    const char *topic, *price; /* price NULL: sold out */
    int64_t thinks_us;
};

static const struct shop fast = {"shop.fast", NULL, 0}; /* it is the first to say that it has none */
static const struct shop cheap = {"shop.cheap", "10", 20000};
static const struct shop slow = {"shop.slow", "12", 60000};

/* An answer that is given later. */
struct thought {
    crier *bus;
    const struct shop *shop;
    char address[CRIER_REPLY_ADDRESS_SIZE];
};

static int thought_over(const crier_result *result, crier_outcome *ret, void *ctx)
{
    struct thought *thought = ctx;
    (void)ret;
    if (result->code == 0)
        crier_reply_to(thought->bus, thought->address, 0, thought->shop->price, strlen(thought->shop->price));
    free(thought);
    return 0;
}

static int on_question(crier *bus, const crier_event *event, void *ctx)
{
    const struct shop *shop = ctx;
    struct thought *thought;
    crier_future *thinking;

    if (!shop->price)
        return crier_reply_failed(bus, event, CRIER_EFULL, "sold out");
    thought = malloc(sizeof(*thought));
    if (!thought)
        return CRIER_ENOMEM;
    *thought = (struct thought){.bus = bus, .shop = shop};
    int rc = crier_reply_address(event, thought->address);
    if (rc == 0)
        rc = crier_after(bus, shop->thinks_us, &thinking);
    if (rc == 0) {
        rc = crier_future_then(thinking, thought_over, thought_over, thought, NULL);
        crier_future_release(thinking);
    }
    if (rc < 0)
        free(thought);
    return rc;
}

/* It hears questions of its own, and those on the market. */
static int shop_open(crier *bus, const struct shop *shop)
{
    struct crier_listen_options options = crier_listen_options_default();

    options.ephemeral = true; /* nobody wants to keep these */
    int rc = crier_listen(bus, shop->topic, &options, on_question, (void *)(uintptr_t)shop, NULL);
    return rc < 0 ? rc : crier_listen(bus, "market", &options, on_question, (void *)(uintptr_t)shop, NULL);
}

/* ---- the buyer ---- */

static void print(const char *how, const crier_result *result)
{
    const char *words = result->pointer ? result->pointer : crier_strerror(result->code);

    printf("%-12s %s%s\n", how, result->code < 0 ? "no price: " : "", words);
}

/* One question to each shop; futures[i] is the answer of topics[i]. */
static int ask_all(crier *bus, const char *const *topics, crier_future **futures)
{
    int rc = 0;

    for (int i = 0; i < SHOPS && rc == 0; i++)
        rc = crier_request(bus, topics[i], "umbrella", 8, NULL, &futures[i]);
    return rc;
}

typedef int combine(crier *bus, crier_future *const *futures, size_t count, crier_future **ret_future);

/* Asks all shops and puts the answers together; returns that future, settled. */
static crier_future *together(crier *bus, combine *how, crier_result *ret_result)
{
    static const char *const topics[SHOPS] = {"shop.fast", "shop.cheap", "shop.slow", "shop.closed"};
    crier_future *futures[SHOPS] = {NULL}, *all = NULL;

    if (ask_all(bus, topics, futures) < 0 || how(bus, futures, SHOPS, &all) < 0) {
        fprintf(stderr, "quotes: the shops cannot be asked\n");
        exit(1);
    }
    crier_future_wait(all, 10000, ret_result);
    for (int i = 0; i < SHOPS; i++)
        crier_future_release(futures[i]); /* those that are not there yet come, or do not: nobody minds */
    return all;
}

static void race_of(crier *bus)
{
    crier_result result;
    crier_future *first = together(bus, crier_future_race, &result);

    print("race", &result);
    expect(result.code == CRIER_EFULL || result.code == CRIER_ENOLISTENER, "the first answer is a refusal");
    crier_future_release(first);
}

static void any_of(crier *bus)
{
    crier_result result;
    crier_future *price = together(bus, crier_future_any, &result);

    print("any", &result);
    expect(result.code == 0 && strcmp(result.pointer, "10") == 0, "the first price is the cheap shop's");
    crier_future_release(price);
}

static void all_settled_of(crier *bus)
{
    static const int codes[SHOPS] = {CRIER_EFULL, 0, 0, CRIER_ENOLISTENER};
    crier_result result;
    crier_future *all = together(bus, crier_future_all_settled, &result);
    const crier_result *answers = result.pointer;

    expect(result.code == 0 && result.size == SHOPS, "everybody has answered");
    for (size_t i = 0; result.code == 0 && i < result.size; i++) {
        print("all_settled", &answers[i]);
        expect(answers[i].code == codes[i], "each answer is where its question was");
    }
    crier_future_release(all);
}

static void replies_of(crier *bus)
{
    struct crier_request_options options = crier_request_options_default();
    crier_future *market;
    crier_result result;
    size_t prices = 0;

    options.replies = 3;
    if (crier_request(bus, "market", "umbrella", 8, &options, &market) < 0)
        exit(1);
    crier_future_wait(market, 10000, &result);
    const crier_result *answers = result.pointer;
    for (size_t i = 0; result.code == 0 && i < result.size; i++) {
        print("replies", &answers[i]);
        prices += answers[i].code == 0;
    }
    expect(result.code == 0 && result.size == 3 && prices == 2, "three shops answer, two have a price");
    crier_future_release(market);
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : "crier://127.0.0.1:27437";
    crier *shops, *buyer;
    int64_t round_trip_us;

    int rc = crier_open(url, NULL, &shops);
    if (rc == 0)
        rc = crier_open(url, NULL, &buyer);
    if (rc == 0 && shop_open(shops, &fast) == 0 && shop_open(shops, &cheap) == 0 &&
        shop_open(shops, &slow) == 0)
        rc = crier_ping(shops, &round_trip_us);
    if (rc < 0) {
        fprintf(stderr, "quotes: %s: %s\n", url, crier_strerror(rc));
        return 1;
    }
    race_of(buyer);
    any_of(buyer);
    all_settled_of(buyer);
    replies_of(buyer);
    crier_close(buyer);
    crier_close(shops);
    return as_it_should_be ? 0 : 1;
}
