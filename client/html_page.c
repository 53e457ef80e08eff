#include "client/html_page.h"

#include <string.h>

#include "base/bytes.h"

static const char style[] =
    ":root{--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--good:#116329;--bad:#a40e26;--open:#7d4e00;--blue:#0b4f9e}"
    "*{box-sizing:border-box}"
    "body{font:15px/1.5 system-ui,'Liberation Sans','DejaVu Sans',sans-serif;color:var(--ink);background:#fff;"
    "max-width:62rem;margin:0 auto;padding:2rem 1.5rem}"
    "h1{font-size:1.6rem;line-height:1.25;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2rem 0 "
    ".6rem;padding-bottom:.2rem;"
    "border-bottom:2px solid var(--ink)}h3{font-size:.95rem;margin:1.2rem 0 .3rem}"
    ".lead{color:var(--soft);margin:0 0 1rem}code,.mono{font:.86em/1.4 'Liberation Mono','DejaVu Sans Mono',monospace;"
    "overflow-wrap:anywhere}"
    "dl{display:grid;grid-template-columns:11rem 1fr;gap:.15rem 1rem;margin:.4rem 0}dt{color:var(--soft)}"
    "dd{margin:0;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%;margin:.5rem "
    "0;font-size:.92rem}th,td{text-align:left;vertical-align:top;"
    "padding:.3rem .6rem;border-bottom:1px solid var(--line);overflow-wrap:anywhere}th{border-bottom:2px solid "
    "var(--ink);"
    "font-weight:600}td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}"
    ".badge{display:inline-block;border:1.5px solid;border-radius:.25rem;padding:0 "
    ".45rem;font-weight:600;font-size:.82rem;"
    "white-space:nowrap}.good{color:var(--good)}.bad{color:var(--bad)}.open{color:var(--open)}.plain{color:var(--soft)}"
    ".verdict{border:2px solid;border-radius:.4rem;padding:.7rem 1rem;margin:1rem 0}.verdict b{font-size:1.05rem}"
    ".verdict p{margin:.2rem 0 0;color:var(--ink)}"
    "ol.time{list-style:none;margin:.5rem 0;padding:0 0 0 1rem;border-left:3px solid var(--line)}"
    "ol.time li{position:relative;margin:0 0 .8rem;padding-left:.9rem;break-inside:avoid}"
    "ol.time "
    "li::before{content:'';position:absolute;left:-1.5rem;top:.35rem;width:.75rem;height:.75rem;border-radius:50%;"
    "background:#fff;border:3px solid var(--soft)}"
    "li.request::before{border-color:var(--blue)!important}li.decision::before{border-color:var(--good)!important}"
    "li.access::before{border-color:var(--blue)!important;background:var(--blue)!important}"
    "li.end::before{border-color:var(--bad)!important;background:var(--bad)!important}"
    "li.enforcement::before{border-color:var(--good)!important;background:var(--good)!important}"
    "table.checks "
    "td:first-child{white-space:nowrap}li.review::before,li.lock::before{border-color:var(--open)!important;background:"
    "var(--open)!important}"
    ".when{color:var(--soft);font-size:.85rem;font-variant-numeric:tabular-nums}.note{color:var(--soft)}"
    "svg{max-width:100%;height:auto}svg text{font:12px system-ui,'Liberation Sans','DejaVu "
    "Sans',sans-serif;fill:var(--ink)}"
    "footer{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:.6rem;color:var(--soft);font-size:.85rem}"
    ".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.8rem;margin:1rem 0}"
    ".figure{border:1px solid var(--line);border-radius:.4rem;padding:.5rem .8rem}.figure "
    "b{display:block;font-size:1.5rem;"
    "line-height:1.2}.figure span{color:var(--soft);font-size:.85rem}"
    "@page{size:A4;margin:16mm 14mm}@media print{body{padding:0;max-width:none;font-size:10.5pt}h2{break-after:avoid}"
    "tr,.verdict,.figure{break-inside:avoid}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}"
    "@media(max-width:40rem){dl{grid-template-columns:1fr}dt{margin-top:.4rem}}";

void html_begin(FILE *out, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
          "'unsafe-inline'\">\n<title>",
          out);
    html_text(out, title);
    fprintf(out, "</title>\n<style>%s</style>\n</head>\n<body>\n<h1>", style);
    html_text(out, title);
    fputs("</h1>\n", out);
}

void html_end(FILE *out, const char *footer)
{
    fputs("<footer>", out);
    html_text(out, footer);
    fputs("</footer>\n</body>\n</html>\n", out);
}

/* ---- Text */

/* The length of the character at `text`, and its number; 0 when the bytes are none. */
static size_t character(const char *text, uint32_t *number)
{
    unsigned char first = (unsigned char)*text;
    size_t len = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (strnlen(text, len) < len)
        return 0;
    if (len > 1 && !slice_is_text(slice_of(text, len), false) && !(len == 2 && first == 0xC2))
        return 0;
    *number = len == 1 ? first : first & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++)
        *number = *number << 6 | ((unsigned char)text[i] & 0x3F);
    return len;
}

/* Moves what follows, or hides itself: shown by number. */
static bool is_hidden(uint32_t c)
{
    return (c < 0x20 && c != '\n') || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x61C ||
           (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF;
}

static const char *entity(uint32_t c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\n':
        return "<br>";
    default:
        return NULL;
    }
}

void html_text(FILE *out, const char *text)
{
    while (*text != '\0') {
        uint32_t c = 0;
        size_t len = character(text, &c);
        if (len == 0)
            fputs("\xEF\xBF\xBD", out);
        else if (entity(c) != NULL)
            fputs(entity(c), out);
        else if (is_hidden(c))
            fprintf(out, "\\u{%x}", c);
        else
            fwrite(text, 1, len, out);
        text += len == 0 ? 1 : len;
    }
}

/* ---- Parts */

void html_section(FILE *out, const char *title)
{
    fputs("<section>\n<h2>", out);
    html_text(out, title);
    fputs("</h2>\n", out);
}

void html_section_end(FILE *out)
{
    fputs("</section>\n", out);
}

void html_paragraph(FILE *out, const char *text)
{
    fputs("<p>", out);
    html_text(out, text);
    fputs("</p>\n", out);
}

void html_facts(FILE *out)
{
    fputs("<dl>\n", out);
}

void html_fact(FILE *out, const char *name, const char *value)
{
    if (*value == '\0')
        return;
    fputs("<dt>", out);
    html_text(out, name);
    fputs("</dt><dd>", out);
    html_text(out, value);
    fputs("</dd>\n", out);
}

void html_facts_end(FILE *out)
{
    fputs("</dl>\n", out);
}

static void row(FILE *out, const char *tag, int n, const char *const *cells)
{
    fputs("<tr>", out);
    for (int i = 0; i < n; i++) {
        fprintf(out, "<%s>", tag);
        html_text(out, cells[i]);
        fprintf(out, "</%s>", tag);
    }
    fputs("</tr>\n", out);
}

void html_table(FILE *out, int n, const char *const *titles)
{
    fputs("<table>\n<thead>", out);
    row(out, "th", n, titles);
    fputs("</thead>\n<tbody>\n", out);
}

void html_cells(FILE *out, int n, const char *const *cells)
{
    row(out, "td", n, cells);
}

void html_table_end(FILE *out)
{
    fputs("</tbody>\n</table>\n", out);
}

void html_badge(FILE *out, const char *tone, const char *text)
{
    fprintf(out, "<span class=\"badge %s\">", tone);
    html_text(out, text);
    fputs("</span>", out);
}
