/* The small authority: what it writes verifies, and what it refuses. */
#include <arpa/inet.h>
#include <sys/stat.h>

#include "tests/unit/tls_fixture.h"

static char *dir;

static void set_up(void)
{
    dir = fixture_authority("example.org");
}

static void tear_down(void)
{
    fixture_remove(dir);
}

TestSuite(pki, .init = set_up, .fini = tear_down);

static lapse_result issue(const char *principal, const char *name, const char *const *hosts, uint32_t days,
                          struct lapse_error *error)
{
    struct pki_request request = {principal, name, hosts, days};
    return pki_issue(dir, &request, error);
}

static void expect_refused(const char *principal, const char *name, const char *host, uint32_t days,
                           enum lapse_code code, const char *message)
{
    const char *hosts[] = {host, NULL};
    struct lapse_error error = {0};
    cr_expect_eq(issue(principal, name, hosts, days, &error).code, code, "%s", error.message);
    cr_expect_not_null(strstr(error.message, message), "%s", error.message);
}

static unsigned mode_of(const char *file)
{
    struct stat status;
    cr_assert_eq(stat(fixture_path(dir, file), &status), 0, "%s", file);
    return status.st_mode & 07777;
}

Test(pki, a_leaf_verifies_under_its_authority_and_carries_its_names)
{
    static const char *const hosts[] = {"127.0.0.1", "::1", "node1.example.org", "*.example.org", NULL};
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(issue("lapse/node/1", "node1", hosts, 10, &error)), "%s", error.message);
    X509 *authority = fixture_read_certificate(fixture_path(dir, "ca.pem"));
    X509 *leaf = fixture_read_certificate(fixture_path(dir, "node1.pem"));
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    cr_assert(X509_STORE_add_cert(store, authority) == 1 && X509_STORE_CTX_init(context, store, leaf, NULL) == 1);
    X509_STORE_CTX_set_flags(context, X509_V_FLAG_X509_STRICT);
    cr_assert_eq(X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER), 1);
    cr_expect_eq(X509_verify_cert(context), 1, "%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
    cr_expect_eq(X509_check_host(leaf, "node1.example.org", 0, 0, NULL), 1);
    cr_expect_eq(X509_check_ip_asc(leaf, "127.0.0.1", 0), 1);
    cr_expect_eq(X509_check_ip_asc(leaf, "::1", 0), 1);
    cr_expect_eq(X509_get_extended_key_usage(leaf), (uint32_t)(XKU_SSL_CLIENT | XKU_SSL_SERVER));
    cr_expect_eq(X509_get_key_usage(leaf), (uint32_t)KU_DIGITAL_SIGNATURE);
    cr_expect_eq(X509_check_ca(leaf), 0);
    cr_expect_eq(X509_get_pathlen(authority), 0);
    cr_expect_eq(ASN1_STRING_length(X509_get_serialNumber(leaf)), 16);
    cr_expect_neq(ASN1_INTEGER_cmp(X509_get_serialNumber(leaf), X509_get_serialNumber(authority)), 0);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_free(leaf);
    X509_free(authority);
}

Test(pki, a_leaf_is_an_identity_that_tls_takes)
{
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(issue("user/dev1", "short", NULL, 1, &error)), "%s", error.message);
    cr_assert(lapse_is_ok(issue("spiffe://example.org/user/dev1", "full", NULL, 1, &error)), "%s", error.message);
    struct tls_identity *one = fixture_identity(dir, "short"), *two = fixture_identity(dir, "full");
    cr_expect_str_eq(tls_identity_principal(one), tls_identity_principal(two));
    tls_identity_unref(one);
    tls_identity_unref(two);
}

Test(pki, keys_are_for_their_owner_only)
{
    fixture_issue(dir, "user/dev1", "dev1");
    cr_expect_eq(mode_of("ca.key"), 0600);
    cr_expect_eq(mode_of("dev1.key"), 0600);
}

Test(pki, a_fresh_directory_is_private)
{
    char path[300];
    struct stat status;
    struct lapse_error error = {0};
    (void)snprintf(path, sizeof path, "%s/new", dir);
    cr_assert(lapse_is_ok(pki_init(path, "example.org", 1, &error)), "%s", error.message);
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 07777, 0700);
}

Test(pki, certificates_began_five_minutes_ago_and_a_leaf_ends_with_its_authority)
{
    struct lapse_error error = {0};
    int days = 0, seconds = 0;
    cr_assert(lapse_is_ok(issue("user/dev1", "dev1", NULL, 3650, &error)));
    X509 *authority = fixture_read_certificate(fixture_path(dir, "ca.pem"));
    X509 *leaf = fixture_read_certificate(fixture_path(dir, "dev1.pem"));
    cr_expect_eq(ASN1_TIME_compare(X509_get0_notAfter(leaf), X509_get0_notAfter(authority)), 0);
    cr_assert_eq(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(leaf), NULL), 1);
    cr_expect_eq(days, 0);
    cr_expect_geq(seconds, 300);
    X509_free(leaf);
    X509_free(authority);
}

Test(pki, nothing_is_overwritten)
{
    struct lapse_error error = {0};
    cr_expect_eq(pki_init(dir, "example.org", 10, &error).code, LAPSE_ALREADY_EXISTS);
    fixture_issue(dir, "user/dev1", "dev1");
    expect_refused("user/dev1", "dev1", NULL, 1, LAPSE_ALREADY_EXISTS, "dev1.pem exists already");
    /* One file of a pair is enough, and the other is not left behind. */
    cr_assert_eq(remove(fixture_path(dir, "dev1.pem")), 0);
    expect_refused("user/dev1", "dev1", NULL, 1, LAPSE_ALREADY_EXISTS, "dev1.key exists already");
    cr_expect_neq(access(fixture_path(dir, "dev1.pem"), F_OK), 0);
    cr_assert_eq(remove(fixture_path(dir, "ca.key")), 0);
    cr_expect_eq(pki_init(dir, "example.org", 10, &error).code, LAPSE_ALREADY_EXISTS, "ca.pem still stands");
    cr_expect_neq(access(fixture_path(dir, "ca.key"), F_OK), 0);
}

Test(pki, bad_requests_are_refused_and_write_nothing)
{
    expect_refused("user/dev1", "../dev1", NULL, 1, LAPSE_INVALID_ARGUMENT, "file name");
    expect_refused("user/dev1", "", NULL, 1, LAPSE_INVALID_ARGUMENT, "file name");
    expect_refused("user/dev1", ".hidden", NULL, 1, LAPSE_INVALID_ARGUMENT, "file name");
    expect_refused("user/dev1", "ca", NULL, 1, LAPSE_INVALID_ARGUMENT, "is not \"ca\"");
    expect_refused("user/dev1", "x", NULL, 0, LAPSE_INVALID_ARGUMENT, "days");
    expect_refused("user/../dev1", "x", NULL, 1, LAPSE_INVALID_ARGUMENT, "segment");
    expect_refused("/user", "x", NULL, 1, LAPSE_INVALID_ARGUMENT, "segment");
    expect_refused("", "x", NULL, 1, LAPSE_INVALID_ARGUMENT, "segment");
    expect_refused("user/dev1,URI:spiffe", "x", NULL, 1, LAPSE_INVALID_ARGUMENT, "letters, digits");
    expect_refused("spiffe://example.com/user/dev1", "x", NULL, 1, LAPSE_INVALID_ARGUMENT, "trust domain example.org");
    expect_refused("user/dev1", "x", "a,URI:spiffe://example.org/admin", 1, LAPSE_INVALID_ARGUMENT, "neither a DNS");
    cr_expect_neq(access(fixture_path(dir, "x.key"), F_OK), 0);
    cr_expect_neq(access(fixture_path(dir, "x.pem"), F_OK), 0);
}

Test(pki, a_trust_domain_is_checked)
{
    struct lapse_error error = {0};
    static const char *const bad[] = {"", "Example.org", "example.org/x", "a b", "example.org:1", "/"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char path[300];
        (void)snprintf(path, sizeof path, "%s/bad%zu", dir, i);
        cr_expect_eq(pki_init(path, bad[i], 10, &error).code, LAPSE_INVALID_ARGUMENT, "\"%s\"", bad[i]);
        cr_expect_neq(access(path, F_OK), 0, "\"%s\" left a directory", bad[i]);
    }
}

Test(pki, without_an_authority_nothing_is_issued)
{
    struct lapse_error error = {0};
    struct pki_request request = {"user/dev1", "dev1", NULL, 1};
    cr_expect_eq(pki_issue("/nonexistent", &request, &error).code, LAPSE_FAILED_PRECONDITION);
    cr_assert_eq(remove(fixture_path(dir, "ca.key")), 0);
    expect_refused("user/dev1", "dev1", NULL, 1, LAPSE_FAILED_PRECONDITION, "ca.key");
}

Test(pki, another_authoritys_key_is_noticed)
{
    char *other = fixture_authority("example.org");
    cr_assert_eq(rename(fixture_path(other, "ca.key"), fixture_path(dir, "ca.key")), 0);
    expect_refused("user/dev1", "dev1", NULL, 1, LAPSE_FAILED_PRECONDITION, "ca.key does not belong to ca.pem");
    fixture_remove(other);
}
