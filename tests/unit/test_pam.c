/* What a line in /etc/pam.d says, and the texts that are made of it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/pam/arguments.h"

static const struct pam_facts facts = {
    .user = "dev1", .remote_host = "2001:db8::1", .host = "web1.example.org", .service = "sshd", .terminal = "pts-3"};

static bool parse(const char *argument, struct lapse_error *error)
{
    struct pam_arguments out;
    const char *arguments[] = {"subject=user:%u", "action=sudo", argument};
    return lapse_is_ok(pam_arguments_parse(argument == NULL ? 2 : 3, arguments, &out, error));
}

static const char *expand(const char *text, const struct pam_facts *with)
{
    static char out[64];
    struct lapse_error error;
    return lapse_is_ok(pam_template_expand(text, with, out, sizeof out, &error)) ? out : NULL;
}

Test(pam, arguments_have_defaults_that_are_safe)
{
    struct pam_arguments out;
    struct lapse_error error;
    const char *arguments[] = {"subject=user:%u", "action=sudo"};
    cr_assert(lapse_is_ok(pam_arguments_parse(2, arguments, &out, &error)));
    cr_assert_str_eq(out.socket, "/run/lapse/local.sock");
    cr_assert_str_eq(out.resource, "host/%h");
    cr_assert(out.end_sessions && !out.silent && !out.debug);
    cr_assert_gt(out.timeout_ms, LIMIT_AGENT_WAIT_MS);
}

Test(pam, arguments_that_are_wrong_are_refused)
{
    static const char *const wrong[] = {"end_session=no", "end_sessions=maybe", "timeout_ms=", "timeout_ms=-1",
                                        "timeout_ms=99",  "timeout_ms=60001",   "socket=x",    "debug=1"};
    struct lapse_error error;
    cr_assert(parse(NULL, &error) && parse("end_sessions=no", &error) && parse("timeout_ms=100", &error));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_not(parse(wrong[i], &error), "%s was taken", wrong[i]);
}

Test(pam, arguments_without_a_subject_or_an_action_are_refused)
{
    struct pam_arguments out;
    struct lapse_error error;
    const char *subject[] = {"subject=user:%u"}, *action[] = {"action=sudo"};
    cr_assert_not(lapse_is_ok(pam_arguments_parse(1, subject, &out, &error)));
    cr_assert_not(lapse_is_ok(pam_arguments_parse(1, action, &out, &error)));
}

Test(pam, templates_draw_from_what_pam_knows)
{
    cr_assert_str_eq(expand("user:%u@example.com", &facts), "user:dev1@example.com");
    cr_assert_str_eq(expand("host/%h/%s/%t", &facts), "host/web1.example.org/sshd/pts-3");
    cr_assert_str_eq(expand("from/%r 100%%", &facts), "from/2001:db8::1 100%");
    cr_assert_str_eq(expand("", &facts), "");
}

Test(pam, templates_fail_when_a_value_is_missing)
{
    const struct pam_facts empty = {.user = ""};
    cr_assert_null(expand("user:%i", &facts));
    cr_assert_null(expand("user:%u", &empty));
    cr_assert_null(expand("%x", &facts));
    cr_assert_null(expand("user:%", &facts));
}

Test(pam, a_name_does_not_lead_to_another_resource)
{
    static const char *const names[] = {"a/b", "../a", "..", ".", "*", "a b", "a\nb", "%u", "\xc3\xa4", "a@b"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct pam_facts hostile = {.user = names[i]};
        cr_assert_null(expand("home/%u", &hostile), "\"%s\" was taken", names[i]);
    }
}

Test(pam, a_text_is_cut_nowhere)
{
    char name[80];
    memset(name, 'a', sizeof name);
    name[60] = '\0';
    const struct pam_facts longest = {.user = name};
    cr_assert_str_eq(expand("%u", &longest), name);
    cr_assert_null(expand("user:%u", &longest));
}
