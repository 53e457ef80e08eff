/* Patterns of justifications and tickets: a small language of our own, matched in linear time on every node alike.
 *
 *   item  :=  character | "." | "[A-Z0-9_]" | "[^...]" | "\" special        any of them may be followed by
 *   times :=  "*" | "+" | "?" | "{3}" | "{2,5}"
 *
 * There are no groups and no alternatives, so a pattern is a chain of states, each one item, and a text is matched by
 * the set of the states in which it may be: x{2,4} is x x x? x?, x+ is x x*.
 *
 *   "AB?C*"    (0)--A-->(1)--B-->(2)--C--.
 *                        '-------->'  ^---'   a text matches if its last set holds the end of the chain
 *
 * The set is bits, so that a step costs the same whatever the pattern is: who asks chooses the text, with each request.
 *
 * A character is a whole one (UTF-8), newlines included. A text that isn't UTF-8 matches nothing but the empty pattern.
 */
#include "store/policy_internal.h"

#include "base/check.h"

enum state_kind { STATE_ONE, STATE_OPTIONAL, STATE_MANY };

struct state {
    uint8_t start, end; /* of its item in the pattern */
    uint8_t kind;
};

struct chain {
    struct slice pattern;
    struct state states[LIMIT_TEXT_STATES];
    uint32_t n;
};
_Static_assert(LIMIT_TEXT_PATTERN <= UINT8_MAX, "places in it are kept in a byte");

static const char specials[] = ".[]\\*+?{}()|^$-";

static bool is_special(uint8_t c)
{
    return c != '\0' && strchr(specials, c) != NULL;
}

/* The character at *at, which moves behind it. What is not UTF-8 becomes a number that no character has. */
static uint32_t take_character(struct slice text, size_t *at)
{
    uint8_t first = text.data[(*at)++];
    uint32_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
    if (more == 0 || more > text.len - *at)
        return first < 0x80 ? first : 0x110000u + first;
    uint32_t character = first & (0x3Fu >> more);
    for (; more > 0; more--)
        character = character << 6 | (text.data[(*at)++] & 0x3Fu);
    return character;
}

/* One end of a range in a class: a character, or one behind a backslash. */
static uint32_t take_member(struct slice pattern, size_t *at)
{
    if (pattern.data[*at] == '\\')
        (*at)++;
    return take_character(pattern, at);
}

/* --- parsing ------------------------------------------------------------------------------------------------------ */

static lapse_result parse_escape(struct slice pattern, size_t *at, struct lapse_error *error)
{
    if (*at + 1 >= pattern.len || !is_special(pattern.data[*at + 1]))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "pattern, character %zu: a backslash stands before one of %s only; write classes like [0-9]",
                          *at + 1, specials);
    *at += 2;
    return lapse_ok();
}

static lapse_result parse_member(struct slice pattern, size_t *at, uint32_t *character, struct lapse_error *error)
{
    size_t start = *at;
    if (pattern.data[start] == '\\') {
        lapse_result result = parse_escape(pattern, at, error);
        if (lapse_is_ok(result))
            *character = pattern.data[start + 1];
        return result;
    }
    if (pattern.data[start] == '[')
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "pattern, character %zu: \"[\" in a class needs a backslash before it", start + 1);
    *character = take_character(pattern, at);
    return lapse_ok();
}

static bool begins_range(struct slice pattern, size_t at)
{
    return at + 1 < pattern.len && pattern.data[at] == '-' && pattern.data[at + 1] != ']';
}

/* From behind its "[" and "^" to behind its "]". */
static lapse_result parse_members(struct slice pattern, size_t *at, struct lapse_error *error)
{
    size_t start = *at;
    uint32_t low = 0, high = 0;
    while (*at < pattern.len && (pattern.data[*at] != ']' || *at == start)) {
        if (pattern.data[*at] == ']')
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "pattern, character %zu: a class is empty", *at + 1);
        lapse_result result = parse_member(pattern, at, &low, error);
        if (!lapse_is_ok(result))
            return result;
        if (!begins_range(pattern, *at))
            continue;
        ++*at;
        result = parse_member(pattern, at, &high, error);
        if (!lapse_is_ok(result))
            return result;
        if (high < low)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "pattern: a range that ends before it begins, behind "
                              "character %zu",
                              start);
    }
    if (*at == pattern.len)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "pattern: the class behind character %zu has no \"]\"", start);
    ++*at;
    return lapse_ok();
}

static lapse_result parse_item(struct slice pattern, size_t *at, struct lapse_error *error)
{
    uint8_t c = pattern.data[*at];
    if (c == '\\')
        return parse_escape(pattern, at, error);
    if (c == '[') {
        *at += *at + 1 < pattern.len && pattern.data[*at + 1] == '^' ? 2 : 1;
        return parse_members(pattern, at, error);
    }
    if (c == '*' || c == '+' || c == '?' || c == '{')
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "pattern, character %zu: \"%c\" has nothing to repeat; put a backslash before it to mean "
                          "itself",
                          *at + 1, c);
    if (is_special(c) && c != '.' && c != '-')
        return lapse_fail(
            error, LAPSE_INVALID_ARGUMENT,
            "pattern, character %zu: \"%c\" means nothing here (the whole text has to match; there are no "
            "groups and no alternatives); put a backslash before it to mean itself",
            *at + 1, c);
    (void)take_character(pattern, at);
    return lapse_ok();
}

static bool take_number(struct slice pattern, size_t *at, uint32_t *number)
{
    size_t start = *at;
    for (*number = 0; *at < pattern.len && pattern.data[*at] >= '0' && pattern.data[*at] <= '9'; ++*at)
        if (*number <= LIMIT_TEXT_STATES)
            *number = *number * 10 + (pattern.data[*at] - '0');
    return *at > start;
}

static bool take_byte(struct slice pattern, size_t *at, uint8_t wanted)
{
    if (*at == pattern.len || pattern.data[*at] != wanted)
        return false;
    ++*at;
    return true;
}

/* How often: at least `fewest` times, at most `most`, UINT32_MAX for any number. */
static lapse_result parse_times(struct slice pattern, size_t *at, uint32_t *fewest, uint32_t *most,
                                struct lapse_error *error)
{
    size_t start = *at;
    *fewest = *most = 1;
    if (take_byte(pattern, at, '*')) {
        *fewest = 0;
        *most = UINT32_MAX;
    } else if (take_byte(pattern, at, '+')) {
        *most = UINT32_MAX;
    } else if (take_byte(pattern, at, '?')) {
        *fewest = 0;
    } else if (take_byte(pattern, at, '{')) {
        bool good = take_number(pattern, at, fewest);
        *most = *fewest;
        if (good && take_byte(pattern, at, ','))
            good = take_number(pattern, at, most);
        if (!good || !take_byte(pattern, at, '}') || *most == 0 || *most < *fewest)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "pattern, character %zu: write a repetition as {3} or {2,5}", start + 1);
    }
    return lapse_ok();
}

static bool add_states(struct chain *chain, struct state state, uint32_t fewest, uint32_t most)
{
    uint32_t optional = most == UINT32_MAX ? 1 : most - fewest;
    if (fewest > LIMIT_TEXT_STATES || optional > LIMIT_TEXT_STATES || chain->n + fewest + optional > LIMIT_TEXT_STATES)
        return false;
    for (uint32_t i = 0; i < fewest + optional; i++) {
        state.kind = i < fewest ? STATE_ONE : most == UINT32_MAX ? STATE_MANY : STATE_OPTIONAL;
        chain->states[chain->n++] = state;
    }
    return true;
}

static lapse_result parse(struct slice pattern, struct chain *chain, struct lapse_error *error)
{
    uint32_t fewest, most;
    chain->pattern = pattern;
    chain->n = 0;
    for (size_t at = 0; at < pattern.len;) {
        size_t start = at;
        lapse_result result = parse_item(pattern, &at, error);
        struct state state = {.start = (uint8_t)start, .end = (uint8_t)at};
        if (lapse_is_ok(result))
            result = parse_times(pattern, &at, &fewest, &most, error);
        if (!lapse_is_ok(result))
            return result;
        if (!add_states(chain, state, fewest, most))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "pattern: its repetitions come to more than %u characters; ask for fewer",
                              LIMIT_TEXT_STATES);
    }
    return lapse_ok();
}

lapse_result text_pattern_validate(struct slice pattern, struct lapse_error *error)
{
    struct chain chain;
    if (pattern.len > LIMIT_TEXT_PATTERN)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "pattern has %zu bytes; shorten it to at most %d", pattern.len,
                          LIMIT_TEXT_PATTERN);
    if (!slice_is_text(pattern, false))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "pattern is not one line of UTF-8 text");
    return parse(pattern, &chain, error);
}

static void chain_of(struct slice pattern, struct chain *chain)
{
    lapse_result result = parse(pattern, chain, NULL);
    CHECK(lapse_is_ok(result));
}

void text_pattern_lengths(struct slice pattern, uint32_t *fewest, uint32_t *most)
{
    struct chain chain;
    chain_of(pattern, &chain);
    *fewest = *most = 0;
    for (uint32_t i = 0; i < chain.n; i++) {
        *fewest += chain.states[i].kind == STATE_ONE;
        *most = chain.states[i].kind == STATE_MANY || *most == UINT32_MAX ? UINT32_MAX : *most + 1;
    }
}

/* --- matching ----------------------------------------------------------------------------------------------------- */

static bool class_holds(struct slice pattern, size_t at, uint32_t character)
{
    bool negated = pattern.data[at] == '^', found = false;
    at += negated;
    while (!found && pattern.data[at] != ']') {
        uint32_t low = take_member(pattern, &at), high = low;
        if (begins_range(pattern, at)) {
            at++;
            high = take_member(pattern, &at);
        }
        found = character >= low && character <= high;
    }
    return found != negated;
}

static bool item_takes(const struct chain *chain, const struct state *state, uint32_t character)
{
    struct slice pattern = chain->pattern;
    size_t at = state->start;
    if (pattern.data[at] == '.')
        return true;
    if (pattern.data[at] == '[')
        return class_holds(pattern, at + 1, character);
    return take_member(pattern, &at) == character;
}

/* A set of places between states in which a text may be, one bit each; place n is the end. */
#define PLACE_WORDS (LIMIT_TEXT_STATES / 64 + 1)

struct places {
    uint64_t words[PLACE_WORDS];
};

/* All of ASCII has a slot of its own. */
#define MEMO_SLOTS 128u

/* Which states take a character is found out once for each that the text has; then a step is a few words' work. */
struct machine {
    const struct chain *chain;
    uint32_t n_words;
    struct places many, skipped; /* STATE_MANY; all that may be left out */
    uint32_t known[MEMO_SLOTS];  /* the character + 1 */
    struct places takes[MEMO_SLOTS];
};

static void add(struct places *places, uint32_t i)
{
    places->words[i / 64] |= 1ULL << (i % 64);
}

static bool has(const struct places *places, uint32_t i)
{
    return (places->words[i / 64] >> (i % 64) & 1) != 0;
}

static void machine_init(struct machine *machine, const struct chain *chain)
{
    machine->chain = chain;
    machine->n_words = chain->n / 64 + 1;
    memset(machine->known, 0, sizeof machine->known);
    machine->many = machine->skipped = (struct places){{0}};
    for (uint32_t i = 0; i < chain->n; i++) {
        if (chain->states[i].kind == STATE_MANY)
            add(&machine->many, i);
        if (chain->states[i].kind != STATE_ONE)
            add(&machine->skipped, i);
    }
}

/* States of one item lie side by side and answer alike. */
static const struct places *taking(struct machine *machine, uint32_t character)
{
    const struct chain *chain = machine->chain;
    struct places *takes = &machine->takes[character % MEMO_SLOTS];
    if (machine->known[character % MEMO_SLOTS] == character + 1)
        return takes;
    machine->known[character % MEMO_SLOTS] = character + 1;
    *takes = (struct places){{0}};
    for (uint32_t i = 0; i < chain->n;) {
        const struct state *state = &chain->states[i];
        bool taken = item_takes(chain, state, character);
        for (; i < chain->n && chain->states[i].start == state->start; i++)
            if (taken)
                add(takes, i);
    }
    return takes;
}

/* Adds the places that need no character from those that are there. A run of states that may be left out is a run of
 * ones: adding a place to it carries through to the place behind the run, and what changes on the way has been reached.
 */
static void skip(const struct machine *machine, struct places *places)
{
    uint64_t carry = 0;
    for (uint32_t w = 0; w < machine->n_words; w++) {
        uint64_t run = machine->skipped.words[w], from = places->words[w] & run;
        uint64_t sum = run + from, carried = sum + carry;
        carry = sum < run || carried < sum;
        places->words[w] |= carried ^ run;
    }
}

/* The places behind one character; false when there is none. */
static bool step(struct machine *machine, struct places *places, uint32_t character)
{
    const struct places *takes = taking(machine, character);
    uint64_t shifted = 0, any = 0;
    for (uint32_t w = 0; w < machine->n_words; w++) {
        uint64_t taken = places->words[w] & takes->words[w], many = machine->many.words[w];
        uint64_t moves = taken & ~many;
        places->words[w] = (taken & many) | moves << 1 | shifted;
        shifted = moves >> 63;
        any |= places->words[w] | shifted;
    }
    skip(machine, places);
    return any != 0;
}

bool text_matches(struct slice pattern, struct slice text)
{
    struct chain chain;
    struct machine machine;
    struct places places = {{1}};
    if (pattern.len == 0)
        return true;
    if (!slice_is_text(text, true))
        return false;
    chain_of(pattern, &chain);
    machine_init(&machine, &chain);
    skip(&machine, &places);
    for (size_t at = 0; at < text.len;)
        if (!step(&machine, &places, take_character(text, &at)))
            return false;
    return has(&places, chain.n);
}
