/* lapse report: what can be counted about access in a period. */
#include <string.h>
#include <time.h>

#include "client/cli/audit_source.h"
#include "client/cli/output.h"
#include "client/report_gather.h"

struct reporting {
    struct cli *cli;
    struct report *report;
};

/* Whether the records begin with revision 1 is known with the first one. */
static void add(void *arg, const struct lapse_audit_record *record, const json_t *event)
{
    struct reporting *reporting = arg;
    struct cli *cli = reporting->cli;
    if (reporting->report == NULL)
        reporting->report = report_new(cli_number(cli, "from"),
                                       cli_given(cli, "to") ? cli_number(cli, "to") : INT64_MAX, record->revision == 1);
    report_add(reporting->report, record, event);
}

static void print(struct cli *cli, struct report *report, const struct audit_source *source)
{
    const char *format = cli_text(cli, "format");
    json_t *document = report_document(report, source->verdict.cluster, source->proof, (int64_t)time(NULL) * 1000);
    if (strcmp(format, "json") == 0 || cli_output(cli) == CLI_JSON) {
        output_json_line(cli->out, document);
        return;
    }
    if (strcmp(format, "html") == 0)
        report_print_html(cli->out, document);
    else
        report_print_text(cli->out, document);
    json_decref(document);
}

int cmd_report(struct cli *cli)
{
    struct reporting reporting = {cli, NULL};
    struct audit_source source;
    if (cli_given(cli, "to") && cli_number(cli, "to") <= cli_number(cli, "from"))
        return cli_usage_error(cli, "--to is not behind --from");
    int code = audit_source_read(cli, 1, add, &reporting, &source);
    if (code == CLI_OK && reporting.report == NULL) {
        fprintf(stderr, "lapse: there are no records\n");
        code = CLI_NOT_FOUND;
    } else if (code == CLI_OK) {
        print(cli, reporting.report, &source);
    }
    report_free(reporting.report);
    return code;
}
