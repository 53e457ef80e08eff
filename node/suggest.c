#include "node/suggest.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Longer names are never compared: nothing that people type here is. */
#define NAME_MAX_LEN 63

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein's distance, one row of his table at a time. Both names are at most NAME_MAX_LEN long. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t len_b = strlen(b), row[NAME_MAX_LEN + 1];
    for (size_t j = 0; j <= len_b; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[len_b];
}

void suggest_offer(struct suggestion *suggestion, const char *name)
{
    if (strlen(suggestion->typed) > NAME_MAX_LEN || strlen(name) > NAME_MAX_LEN)
        return;
    size_t distance = edit_distance(suggestion->typed, name);
    if (suggestion->name[0] != '\0' && distance >= suggestion->distance)
        return;
    suggestion->distance = distance;
    (void)snprintf(suggestion->name, sizeof suggestion->name, "%s", name);
}

const char *suggest_text(const struct suggestion *suggestion, char text[SUGGEST_TEXT_SIZE])
{
    /* A slip changes a third of a name at most; more is another word. */
    bool near = suggestion->name[0] != '\0' && suggestion->distance * 3 <= strlen(suggestion->name);
    text[0] = '\0';
    if (near)
        (void)snprintf(text, SUGGEST_TEXT_SIZE, "; did you mean %s?", suggestion->name);
    return text;
}
