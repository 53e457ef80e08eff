/* lapse token: gives an active grant its bearer token. It is drawn here, printed once, and nowhere else: the cluster
 * gets its SHA-256. And what lapse check --token-file reads. */
#include "client/cli/token.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/output.h"

static int print(struct cli *cli, const struct lapse_mutation *done, const char *token)
{
    if (cli_output(cli) == CLI_JSON) {
        json_t *json = json_object();
        json_object_set_new(json, "grant_id", json_string(done->grant.id));
        json_object_set_new(json, "token", json_string(token));
        json_object_set_new(json, "deadline_ms", json_integer(done->grant.deadline_ms));
        json_object_set_new(json, "revision", json_integer((json_int_t)done->revision));
        output_json_line(cli->out, json);
    } else {
        fprintf(cli->out, "%s\n", token);
    }
    return CLI_OK;
}

/* A file of its own, readable by its owner alone: never one that is there. */
static int write_file(const char *path, const char *token)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL) {
        fprintf(stderr, "lapse: can't make %s: %s; name a file that isn't there yet\n", path, strerror(errno));
        return CLI_ERROR;
    }
    bool written = fprintf(file, "%s\n", token) > 0;
    written = fclose(file) == 0 && written;
    if (!written)
        fprintf(stderr, "lapse: can't write %s\n", path);
    return written ? CLI_OK : CLI_ERROR;
}

static int set(struct cli *cli, const char *token)
{
    uint8_t sha256[32];
    struct lapse_mutation done;
    struct lapse_error error;
    lapse_result result = lapse_token_hash(token, sha256, &error);
    if (!lapse_is_ok(result))
        return cli_fail(&error);
    struct lapse_set_token_args args = {.grant_id = cli->operands[0], .token_sha256 = {sha256, sizeof sha256}};
    result = lapse_set_token(cli->client, &args, cli->timeout_ms, &done, &error);
    if (!lapse_is_ok(result))
        return cli_fail(&error);
    int code = cli_given(cli, "file") ? CLI_OK : print(cli, &done, token);
    lapse_mutation_free(&done);
    return code;
}

int cmd_token(struct cli *cli)
{
    char token[LAPSE_TOKEN_SIZE];
    const char *path = cli_text(cli, "file");
    lapse_token_make(token);
    /* Before the grant has it: a token that could not be kept would be lost. */
    int code = path == NULL ? CLI_OK : write_file(path, token);
    if (code == CLI_OK) {
        code = set(cli, token);
        /* Where the outcome is not known the grant may have it. */
        if (code != CLI_OK && code != CLI_UNAVAILABLE && path != NULL)
            (void)unlink(path);
    }
    OPENSSL_cleanse(token, sizeof token);
    return code;
}

lapse_result cli_token_read(const char *path, uint8_t sha256[32], struct lapse_error *error)
{
    char line[LAPSE_TOKEN_SIZE + 2] = "";
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "re");
    if (file == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "can't read %s: %s", path, strerror(errno));
    setvbuf(file, NULL, _IONBF, 0); /* no copy of it in a buffer */
    if (fgets(line, sizeof line, file) == NULL)
        line[0] = '\0';
    if (!standard)
        fclose(file);
    line[strcspn(line, "\r\n")] = '\0';
    lapse_result result = lapse_token_hash(line, sha256, error);
    OPENSSL_cleanse(line, sizeof line);
    return result;
}
