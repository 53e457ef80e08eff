#include "bench/peers/peer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

#define PATIENCE_MS 60000
#define POLL_MS 10

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static lapse_result choose_tuning(struct system *system, const char *wanted, struct lapse_error *error)
{
    const char *const *tuning = system->kind->tunings;
    if (wanted == NULL)
        wanted = tuning[0];
    for (; *tuning != NULL; tuning++)
        if (strcmp(*tuning, wanted) == 0) {
            system->tuning = *tuning;
            return lapse_ok();
        }
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s has no tuning \"%s\"", system->kind->name, wanted);
}

static lapse_result find_program(struct peer *peer, const char *wanted, const char *program, struct lapse_error *error)
{
    if (wanted != NULL) {
        if (!slice_to_cstr(slice_str(wanted), peer->program, sizeof peer->program))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the program's path is too long");
        return access(wanted, X_OK) == 0 ? lapse_ok()
                                         : lapse_fail(error, LAPSE_NOT_FOUND, "no program %s", peer->program);
    }
    if (process_find(program, peer->program))
        return lapse_ok();
    return lapse_fail(error, LAPSE_NOT_FOUND, "%s is not here: install %s", program, peer->system.kind->package);
}

static lapse_result make_node(struct peer *peer, uint32_t i, uint32_t n_ports, struct lapse_error *error)
{
    struct process *process = &peer->system.nodes[i];
    char path[PROCESS_PATH_SIZE];
    snprintf(process->name, sizeof process->name, "%s %u", peer->system.kind->name, i + 1);
    /* directory_make leaves room for such a name. */
    int n = snprintf(path, sizeof path, "%.200s/node%u", peer->system.dir, i + 1);
    CHECK(n > 0 && (size_t)n < sizeof path);
    n = snprintf(process->log, sizeof process->log, "%.200s/node%u.log", peer->system.dir, i + 1);
    CHECK(n > 0 && (size_t)n < sizeof process->log);
    if (mkdir(path, 0700) != 0)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s", path, strerror(errno));
    lapse_result result = ports_find(peer->ports[i], n_ports, error);
    snprintf(peer->address[i], sizeof peer->address[i], "127.0.0.1:%u", peer->ports[i][0]);
    return result;
}

static lapse_result take_endpoints(struct peer *peer, const char *endpoints, struct lapse_error *error)
{
    uint32_t n = 0;
    while (*endpoints != '\0') {
        size_t len = strcspn(endpoints, ",");
        if (n == SYSTEM_NODES_MAX || !slice_to_cstr(slice_of(endpoints, len), peer->address[n], PEER_ADDRESS_SIZE) ||
            strchr(peer->address[n], ':') == NULL)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--endpoints: up to %d addresses HOST:PORT",
                              SYSTEM_NODES_MAX);
        n++;
        endpoints += len + (endpoints[len] == ',');
    }
    peer->system.n_nodes = n;
    return n > 0 ? lapse_ok() : lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--endpoints names none");
}

lapse_result peer_begin(struct peer *peer, const struct system_kind *kind, const struct system_options *options,
                        const char *program, uint32_t n_ports, struct lapse_error *error)
{
    CHECK(n_ports <= PEER_PORTS_MAX && options->nodes >= 1 && options->nodes <= SYSTEM_NODES_MAX);
    peer->system.kind = kind;
    peer->system.n_nodes = options->nodes;
    peer->keep = options->keep;
    peer->more_flags = options->flags;
    lapse_result result = choose_tuning(&peer->system, options->tuning, error);
    if (!lapse_is_ok(result))
        return result;
    if (options->endpoints != NULL)
        return take_endpoints(peer, options->endpoints, error);
    peer->is_ours = true;
    result = find_program(peer, options->program, program, error);
    if (lapse_is_ok(result))
        result = directory_make(peer->system.dir, error);
    for (uint32_t i = 0; i < peer->system.n_nodes && lapse_is_ok(result); i++)
        result = make_node(peer, i, n_ports, error);
    return result;
}

void peer_end(struct peer *peer)
{
    for (uint32_t i = 0; i < SYSTEM_NODES_MAX; i++)
        process_kill(&peer->system.nodes[i]);
    if (peer->system.dir[0] == '\0')
        return;
    if (peer->keep)
        fprintf(stderr, "kept: %s\n", peer->system.dir);
    else
        directory_remove(peer->system.dir);
}

/* --- starting a node ---------------------------------------------------------------------------------------------- */

static const char *add(struct peer_args *args, const char *format, va_list values)
{
    char *text = args->text + args->used;
    int n = vsnprintf(text, sizeof args->text - args->used, format, values);
    CHECK(n >= 0 && (size_t)n < sizeof args->text - args->used && args->n < PEER_ARGS_MAX);
    args->used += (size_t)n + 1;
    args->at[args->n++] = text;
    args->at[args->n] = NULL;
    return text;
}

void peer_place(struct peer_args *args, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    (void)add(args, format, values);
    va_end(values);
}

/* One that does not fit is left out of the report, whole. */
static void note(char *flags, size_t size, const char *flag)
{
    size_t used = strlen(flags), len = strlen(flag);
    if (used + len + 4 > size)
        return;
    snprintf(flags + used, size - used, "%s%s", used == 0 ? "" : " ", len == 0 ? "\"\"" : flag);
}

void peer_flag(struct peer_args *args, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    note(args->flags, sizeof args->flags, add(args, format, values));
    va_end(values);
}

lapse_result peer_start_node(struct peer *peer, uint32_t node, struct peer_args *args, struct lapse_error *error)
{
    char *all[PEER_ARGS_MAX + 2];
    all[0] = peer->program;
    for (char *const *flag = peer->more_flags; flag != NULL && *flag != NULL; flag++) {
        if (args->n == PEER_ARGS_MAX || strlen(*flag) >= sizeof args->text - args->used)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "too many or too long flags for a node");
        peer_flag(args, "%s", *flag);
    }
    memcpy(all + 1, args->at, (args->n + 1) * sizeof all[0]);
    snprintf(peer->system.flags, sizeof peer->system.flags, "%s", args->flags[0] == '\0' ? "none" : args->flags);
    return process_start(&peer->system.nodes[node - 1], all, NULL, NULL, error);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

struct peer_wait peer_wait_for(const char *what)
{
    return (struct peer_wait){bench_now_ns() + (int64_t)PATIENCE_MS * 1000000, what};
}

lapse_result peer_wait_more(struct peer *peer, const struct peer_wait *wait, struct lapse_error *error)
{
    const struct timespec pause = {0, POLL_MS * 1000000L};
    for (uint32_t i = 0; i < peer->system.n_nodes; i++) {
        lapse_result result = process_check(&peer->system.nodes[i], error);
        if (!lapse_is_ok(result))
            return result;
    }
    if (bench_interrupted())
        return lapse_fail(error, LAPSE_CANCELLED, "interrupted");
    if (bench_now_ns() > wait->until_ns)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "%s: %s: not within %d s", peer->system.kind->name, wait->what,
                          PATIENCE_MS / 1000);
    nanosleep(&pause, NULL);
    return lapse_ok();
}

/* --- items -------------------------------------------------------------------------------------------------------- */

void peer_key(char out[PEER_KEY_SIZE], uint32_t item)
{
    snprintf(out, PEER_KEY_SIZE, PEER_KEY_PREFIX "%08u", item);
}

bool peer_item(struct slice key, uint32_t *item)
{
    const size_t prefix = sizeof PEER_KEY_PREFIX - 1;
    uint64_t value = 0;
    if (key.len <= prefix || key.len >= PEER_KEY_SIZE || !slice_starts_with(key, slice_str(PEER_KEY_PREFIX)))
        return false;
    for (size_t i = prefix; i < key.len; i++) {
        if (key.data[i] < '0' || key.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(key.data[i] - '0');
    }
    *item = (uint32_t)value;
    return value <= UINT32_MAX;
}

void peer_value(char out[PEER_VALUE_LEN + 1], uint32_t item)
{
    static const char words[] = "spiffe://bench.lapse/user/dev1 may connect to db/prod/orders for one task, approved; ";
    int n = snprintf(out, PEER_VALUE_LEN + 1, "item %08u: ", item);
    for (size_t i = (size_t)n, k = 0; i < PEER_VALUE_LEN; i++, k++)
        out[i] = words[k % (sizeof words - 1)];
    out[PEER_VALUE_LEN] = '\0';
}
