/* future_combine.c: all, all_settled, race and any of many futures.
 *
 * Role:    ECMAScript 2021's combinators (Promise.all, .allSettled, .race, .any): one reaction per input, in the extra memory
 *          of the future they lead to; the last of them, or the first that decides, settles it.
 * Thread:  reactions run on the loop of their input's agenda, so of several buses on several threads: what they share
 *          is atomic, or written by one of them alone (a result's place in the array).
 * Owner:   the combined future holds its inputs until it is freed, for its results point into theirs.
 *
 * Happy path:  future_combine -> an input settles -> input_run -> the rule of `how` -> future_settle
 * Failures:    no memory: nothing happened. An input whose bus is closed is rejected, and counts as that. */
#include "base/future.h"

#include "base/check.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct combine_input {
    struct reaction reaction;
    struct combine *combine;
    size_t index;
};

struct combine {
    enum future_combinator how;
    size_t count;
    atomic_size_t pending;
    struct future_result *results; /* one per input */
    struct combine_input inputs[];
};

static void settle_with_all(struct combine *combine, int code)
{
    future_settle(future_of_extra(combine),
                  &(struct future_result){.code = code, .pointer = combine->results, .size = combine->count},
                  NULL);
}

/* Of none: all and all_settled are fulfilled with nothing, any is rejected with nothing, race never comes. */
static void settle_empty(struct combine *combine, int invalid)
{
    if (combine->how != FUTURE_RACE)
        settle_with_all(combine, combine->how == FUTURE_ANY ? invalid : 0);
}

static void input_settled(struct combine *combine, const struct future_result *result, size_t index)
{
    bool decides = combine->how == FUTURE_RACE || (combine->how == FUTURE_ALL && result->code < 0) ||
                   (combine->how == FUTURE_ANY && result->code == 0);

    combine->results[index] = *result;
    if (decides)
        future_settle(future_of_extra(combine), result, NULL);
    if (atomic_fetch_sub_explicit(&combine->pending, 1, memory_order_acq_rel) == 1 && !decides)
        settle_with_all(combine, combine->how == FUTURE_ANY ? combine->results[0].code : 0);
}

static void input_run(struct reaction *reaction, bool dropped)
{
    struct combine_input *input = (struct combine_input *)(void *)reaction;
    struct combine *combine = input->combine;

    (void)dropped; /* none of this is the user's code */
    input_settled(combine, future_settled_result(reaction->source), input->index);
    future_release(future_of_extra(combine));
}

static void combine_finish(struct future *future)
{
    struct combine *combine = future_extra(future);

    for (size_t i = 0; i < combine->count; i++)
        future_release(combine->inputs[i].reaction.source);
    free(combine->results);
}

int future_combine(struct agenda *agenda, enum future_combinator how, struct future *const *inputs,
                   size_t count, struct future **ret)
{
    struct combine *combine;
    struct future *future = future_create(agenda, sizeof(*combine) + count * sizeof(combine->inputs[0]));

    if (!future)
        return agenda_is_closed(agenda) ? -EPIPE : -ENOMEM;
    combine = future_extra(future);
    combine->how = how;
    atomic_init(&combine->pending, count);
    if (!(combine->results = calloc(count + 1, sizeof(*combine->results)))) {
        future_cancel(future);
        future_release(future);
        return -ENOMEM;
    }
    future_on_free(future, combine_finish);
    combine->count = count;
    for (size_t i = 0; i < count; i++) {
        combine->inputs[i].combine = combine;
        combine->inputs[i].index = i;
        combine->inputs[i].reaction.run = input_run;
        future_retain(future);
        future_react(future_retain(inputs[i]), &combine->inputs[i].reaction, true);
    }
    if (count == 0)
        settle_empty(combine, agenda_codes(agenda)->invalid);
    *ret = future;
    return 0;
}
