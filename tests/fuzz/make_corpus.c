/* Writes the fuzzers' seeds: small inputs that the decoders take, made by the encoders, so that a mutation starts deep
 * inside of the format. Run it again when a format changes, and commit what it wrote.
 *
 *   make-corpus tests/fuzz/corpus */
#include "tests/fuzz/make_corpus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/check.h"

static const char *corpus;

static void fail(const char *path)
{
    (void)fprintf(stderr, "make-corpus: %s: %s\n", path, strerror(errno));
    exit(1);
}

static void make_directory(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        fail(path);
}

void seed_write(const char *target, const char *name, int first, struct slice bytes)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", corpus, target);
    make_directory(path);
    (void)snprintf(path, sizeof path, "%s/%s/%s", corpus, target, name);
    CHECK(bytes.len < SEED_BYTES_MAX);
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        fail(path);
    if (first != SEED_NO_PREFIX)
        (void)fputc(first, file);
    (void)fwrite(bytes.data, 1, bytes.len, file);
    bool written = !ferror(file);
    if (fclose(file) != 0 || !written)
        fail(path);
}

struct grant sample_terms(void)
{
    struct grant terms = {
        .subject = slice_str("spiffe://example.org/user/dev1"),
        .resource = slice_str("db/prod/*"),
        .actions = {slice_str("read"), slice_str("write")},
        .n_actions = 2,
        .justification = slice_str("restore one order\nby hand"),
        .ticket = slice_str("OPS-17"),
        .task = slice_str("restore"),
        .labels = {{slice_str("env"), slice_str("prod")}, {slice_str("team"), slice_str("orders")}},
        .n_labels = 2,
        .policy = slice_str("two-eyes"),
        .duration_ms = 3600000,
        .max_uses = 5,
    };
    terms.binding.spiffe_id = slice_str("spiffe://example.org/host/a");
    terms.binding.certificate_sha256 = slice_str("0123456789abcdef0123456789abcdef");
    terms.binding.networks[0] = slice_str("10.2.0.0/16");
    terms.binding.networks[1] = slice_str("2001:db8::/32");
    terms.binding.n_networks = 2;
    return terms;
}

struct grant sample_grant(void)
{
    struct grant grant = sample_terms();
    grant.id = grant_id_make(1767225600000, (const uint8_t[10]){1});
    grant.parent = grant_id_make(1767225600000, (const uint8_t[10]){2});
    grant.state = GRANT_REVOKED;
    grant.requester = slice_str("user:req1");
    grant.approvals[0] = (struct grant_approval){slice_str("user:app1"), 1767225601000, slice_str("go ahead")};
    grant.n_approvals = 1;
    grant.policy_version = 3;
    grant.break_glass = true;
    grant.not_before_ms = 1767225602000;
    grant.deadline_ms = 1767229202000;
    grant.pending_until_ms = 1767312000000;
    grant.uses = 2;
    grant.ended_by = slice_str("user:ops");
    grant.reason = slice_str("done");
    grant.requested_ms = 1767225600000, grant.requested_revision = 5;
    grant.approved_ms = 1767225601000, grant.approved_revision = 6;
    grant.activated_ms = 1767225602000, grant.activated_revision = 7;
    grant.ended_ms = 1767225603000, grant.ended_revision = 300;
    grant.revision = 300;
    return grant;
}

static void seed_spiffe(void)
{
    static const struct {
        const char *name, *text;
    } ids[] = {
        {"good-user", "spiffe://example.org/user/dev1"},
        {"good-host", "spiffe://a-1.b_2.example.org/ns/prod/host/db-1.internal"},
        {"good-dots-in-segment", "spiffe://example.org/a..b/.c"},
        {"bad-scheme", "https://example.org/user/dev1"},
        {"bad-scheme-case", "SPIFFE://example.org/user/dev1"},
        {"bad-no-path", "spiffe://example.org"},
        {"bad-no-domain", "spiffe:///user/dev1"},
        {"bad-slash-at-end", "spiffe://example.org/user/"},
        {"bad-empty-segment", "spiffe://example.org//dev1"},
        {"bad-dot-dot", "spiffe://example.org/user/../ops"},
        {"bad-port", "spiffe://example.org:443/user/dev1"},
        {"bad-user-info", "spiffe://dev1@example.org/user/dev1"},
        {"bad-percent", "spiffe://example.org/user/%64ev1"},
        {"bad-query", "spiffe://example.org/user/dev1?x=1#y"},
        {"bad-domain-case", "spiffe://Example.org/user/dev1"},
        {"bad-utf8", "spiffe://example.org/user/d\xC3\xA9v1"},
    };
    char path[LIMIT_PRINCIPAL + 2];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        seed_write("spiffe", ids[i].name, SEED_NO_PREFIX, slice_str(ids[i].text));
    seed_write("spiffe", "bad-nul", SEED_NO_PREFIX, slice_of("spiffe://example.org/user/dev1\0x", 32));
    memset(path, 'a', sizeof path);
    memcpy(path, "spiffe://b/", strlen("spiffe://b/"));
    seed_write("spiffe", "good-longest", SEED_NO_PREFIX, slice_of(path, LIMIT_PRINCIPAL));
    seed_write("spiffe", "bad-too-long", SEED_NO_PREFIX, slice_of(path, LIMIT_PRINCIPAL + 1));
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: make-corpus DIRECTORY\n");
        return 2;
    }
    corpus = argv[1];
    make_directory(corpus);
    seed_policies();
    seed_commands();
    seed_snapshots();
    seed_events();
    seed_log();
    seed_spiffe();
    seed_peers();
    seed_lease();
    seed_messages();
    seed_h2();
    seed_agent();
    return 0;
}
