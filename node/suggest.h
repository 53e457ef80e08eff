/* "Did you mean ...?" for names that people type. */
#ifndef LAPSE_NODE_SUGGEST_H
#define LAPSE_NODE_SUGGEST_H

#include <stdbool.h>
#include <stddef.h>

/* The nearest known name offered so far. Start with {.typed = what was typed}. */
struct suggestion {
    const char *typed;
    char name[64];
    size_t distance;
};

void suggest_offer(struct suggestion *suggestion, const char *name);

#define SUGGEST_TEXT_SIZE 96
/* "; did you mean NAME?", or nothing when no name is near enough to be a slip. Returns `text`. */
const char *suggest_text(const struct suggestion *suggestion, char text[SUGGEST_TEXT_SIZE]);

#endif
