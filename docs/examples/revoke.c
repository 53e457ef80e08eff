/* Revokes a grant and says when and at which revision. Blocking calls are all it takes.
 *
 *   cc revoke.c $(pkg-config --cflags --libs lapse) -o revoke
 *   LAPSE_ENDPOINTS=... LAPSE_CERTIFICATE=... LAPSE_KEY=... LAPSE_AUTHORITIES=... ./revoke GRANT-ID REASON */
#include <inttypes.h>
#include <lapse.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct lapse_client_options options = {.endpoints = getenv("LAPSE_ENDPOINTS"),
                                           .certificate = getenv("LAPSE_CERTIFICATE"),
                                           .key = getenv("LAPSE_KEY"),
                                           .authorities = getenv("LAPSE_AUTHORITIES")};
    struct lapse_client *client;
    struct lapse_mutation done;
    struct lapse_error error;

    if (argc != 3) {
        fprintf(stderr, "Usage: revoke GRANT-ID REASON\n");
        return 64;
    }
    if (!lapse_is_ok(lapse_client_new(&options, &client, &error))) {
        fprintf(stderr, "revoke: %s\n", error.message);
        return 1;
    }
    struct lapse_end_args args = {.grant_id = argv[1], .reason = argv[2]};
    lapse_result result = lapse_revoke(client, &args, 5000, &done, &error);
    if (lapse_is_ok(result)) {
        printf("%s is %s at revision %" PRIu64 "\n", done.grant.id, lapse_grant_state_name(done.grant.state),
               done.revision);
        lapse_mutation_free(&done);
    } else {
        fprintf(stderr, "revoke: %s (%s)\n", error.message, lapse_code_name(error.code));
    }
    lapse_client_free(client);
    return lapse_is_ok(result) ? 0 : 1;
}
