/* chaos.c: carries out the plan: kills without warning (SIGKILL), waits, starts again.
 *
 * A kill waits until its victim is up, so that it always hits somebody at work; kills keep their order. When the last one
 * has been started again and is up, the order service is told (SIGUSR1) that the run may end. */
#include "demo.h"

#include <signal.h>
#include <stdio.h>

static void tell(struct demo *demo, const struct chaos_kill *kill)
{
    char text[SCREEN_TEXT_SIZE], instance[32] = "";
    if (demo->instances[kill->role] > 1)
        snprintf(instance, sizeof(instance), " %d of %d", kill->instance + 1, demo->instances[kill->role]);
    snprintf(text, sizeof(text), "kill %d of %d: %s%s, away for %d ms", demo->chaos.done, demo->chaos.count,
             role_names[kill->role], instance, kill->away_ms);
    screen_news(&demo->screen, text);
}

static bool start_again(struct demo *demo, bool *ret_all_up)
{
    for (int role = 0; role < ROLES; role++) {
        for (int i = 0; i < demo->instances[role]; i++) {
            struct process *process = &demo->processes[role][i];
            if (process->killed && screen_now_ms() >= process->back_ms &&
                !start_process(demo, (enum role)role, i))
                return false;
            *ret_all_up = *ret_all_up && process->up;
        }
    }
    return true;
}

bool chaos_turn(struct demo *demo)
{
    struct chaos *chaos = &demo->chaos;
    bool all_are_up = true;
    if (!start_again(demo, &all_are_up))
        return false;
    if (chaos->done == chaos->count) {
        if (all_are_up)
            child_signal(&demo->processes[ORDER][0].child, SIGUSR1);
        return true;
    }
    const struct chaos_kill *next = &chaos->kills[chaos->done];
    struct process *victim = &demo->processes[next->role][next->instance];
    if (!victim->up || screen_now_ms() - demo->screen.started_ms < next->at_ms)
        return true;
    kill_process(victim);
    victim->back_ms = screen_now_ms() + next->away_ms;
    chaos->done++;
    tell(demo, next);
    return true;
}
