/* Encoding and decoding of lease frames. One table says which fields a frame of each kind has; encoder and decoder both
 * walk it. Behind those come the lists, each item a message of its own with a decoder that decides alone whether it is
 * well-formed: lease_frame_decode asks it once for every item, the iterators then rely on that. */
#include "node/lease_frame.h"

#include "base/check.h"
#include "base/wire.h"

enum {
    FIELD_KIND = 1,
    FIELD_ITEM = 16,
    FIELD_FOLLOW = 17,
    FIELD_UNFOLLOW = 18,
    FIELD_COMPLETE = 19,
    FIELD_ADMISSION = 20,
    FIELD_END = 21,
    FIELD_WAITING = 22
};

/* The largest item: 16 failures with their reasons. */
#define ITEM_BYTES_MAX (LEASE_FAILURES_MAX * (LIMIT_RECEIPT_REASON + 32u) + 128u)

#define ON(kind) (1u << (kind))

struct rule {
    uint32_t field;
    uint32_t kinds;
    enum wire_type type;
    size_t at;
    size_t size; /* of the member: 1 (bool), 4 or 8 */
    uint64_t max;
};

#define MEMBER(name) offsetof(struct lease_frame, name), sizeof((struct lease_frame *)NULL)->name

static const struct rule rules[] = {
    {2, ON(LEASE_REPORT) | ON(LEASE_ANSWER), WIRE_VARINT, MEMBER(sent_us), LEASE_TIME_MAX},
    {3, ON(LEASE_REPORT), WIRE_VARINT, MEMBER(age_us), LEASE_TIME_MAX},
    {4, ON(LEASE_REPORT) | ON(LEASE_ANSWER), WIRE_VARINT, MEMBER(applied), UINT64_MAX},
    {5, ON(LEASE_REPORT) | ON(LEASE_ANSWER), WIRE_VARINT, MEMBER(session), UINT64_MAX},
    {6, ON(LEASE_REPORT), WIRE_VARINT, MEMBER(sequence), UINT64_MAX},
    {7, ON(LEASE_ANSWER), WIRE_FIXED64, MEMBER(life), UINT64_MAX},
    {8, ON(LEASE_ANSWER), WIRE_VARINT, MEMBER(lease), 1},
    {9, ON(LEASE_PROGRESS), WIRE_VARINT, MEMBER(barrier), UINT64_MAX},
    {10, ON(LEASE_PROGRESS), WIRE_VARINT, MEMBER(omitted), LIMIT_POINTS},
};

/* --- Writing --- */

static uint64_t member_get(const struct lease_frame *frame, const struct rule *rule)
{
    const char *at = (const char *)frame + rule->at;
    return rule->size == 8 ? *(const uint64_t *)at : rule->size == 4 ? *(const uint32_t *)at : *(const bool *)at;
}

void lease_frame_begin(struct buf *out, const struct lease_frame *frame)
{
    struct wire_writer wire = wire_writer(out);
    wire_put_uint(&wire, FIELD_KIND, frame->kind);
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        uint64_t value = member_get(frame, &rules[i]);
        if (!(rules[i].kinds & ON(frame->kind)))
            continue;
        if (rules[i].type == WIRE_FIXED64)
            wire_put_fixed64(&wire, rules[i].field, value);
        else
            wire_put_uint(&wire, rules[i].field, value);
    }
    CHECK(!wire.failed);
}

bool lease_frame_is_full(const struct buf *out)
{
    return out->len + ITEM_BYTES_MAX > LEASE_FRAME_MAX;
}

static void put_instance(struct wire_writer *wire, const struct random_id *instance)
{
    wire_put_bytes(wire, 1, slice_of(instance->bytes, sizeof instance->bytes));
}

static void put_failure(struct wire_writer *wire, const struct lease_failure *failure)
{
    size_t mark = wire_begin(wire, 8);
    wire_put_uint(wire, 1, failure->first);
    wire_put_uint(wire, 2, failure->last);
    wire_put_bytes(wire, 3, failure->reason);
    wire_end(wire, mark);
}

void lease_frame_put_item(struct buf *out, const struct lease_item *item)
{
    struct wire_writer wire = wire_writer(out);
    CHECK(item->n_failures <= LEASE_FAILURES_MAX);
    size_t mark = wire_begin(&wire, FIELD_ITEM);
    put_instance(&wire, &item->instance);
    wire_put_uint(&wire, 2, item->state);
    wire_put_uint(&wire, 3, item->want);
    wire_put_uint(&wire, 4, item->left_us);
    wire_put_uint(&wire, 5, item->received);
    wire_put_uint(&wire, 6, item->enforced);
    wire_put_uint(&wire, 7, item->goodbye);
    for (uint32_t i = 0; i < item->n_failures; i++)
        put_failure(&wire, &item->failures[i]);
    wire_end(&wire, mark);
    CHECK(!wire.failed);
}

static void put_number(struct buf *out, uint32_t field, uint64_t value)
{
    struct wire_writer wire = wire_writer(out);
    wire_put_uint(&wire, field, value);
    CHECK(!wire.failed);
}

void lease_frame_put_follow(struct buf *out, uint64_t barrier)
{
    put_number(out, FIELD_FOLLOW, barrier);
}

void lease_frame_put_unfollow(struct buf *out, uint64_t barrier)
{
    put_number(out, FIELD_UNFOLLOW, barrier);
}

void lease_frame_put_complete(struct buf *out)
{
    put_number(out, FIELD_COMPLETE, 1);
}

static void put_pair(struct buf *out, uint32_t field, const struct random_id *instance, uint64_t value)
{
    struct wire_writer wire = wire_writer(out);
    size_t mark = wire_begin(&wire, field);
    put_instance(&wire, instance);
    wire_put_uint(&wire, 2, value);
    wire_end(&wire, mark);
    CHECK(!wire.failed);
}

void lease_frame_put_admission(struct buf *out, const struct lease_admission *admission)
{
    put_pair(out, FIELD_ADMISSION, &admission->instance, admission->want);
}

void lease_frame_put_end(struct buf *out, const struct lease_ending *end)
{
    put_pair(out, FIELD_END, &end->instance, end->why);
}

void lease_frame_put_waiting(struct buf *out, const struct lease_waiting *waiting)
{
    struct wire_writer wire = wire_writer(out);
    size_t mark = wire_begin(&wire, FIELD_WAITING);
    put_instance(&wire, &waiting->instance);
    wire_put_bytes(&wire, 2, waiting->point);
    wire_put_uint(&wire, 3, waiting->level);
    wire_put_uint(&wire, 4, waiting->left_ms);
    wire_put_bytes(&wire, 5, waiting->reason);
    wire_end(&wire, mark);
    CHECK(!wire.failed);
}

/* --- Reading items --- */

/* The next field of a message in canonical form; a repeated one may follow itself. */
static bool next_field(struct wire_reader *wire, struct wire_field *field, uint32_t *previous, uint32_t repeated)
{
    if (!wire_next(wire, field))
        return false;
    if (field->number < *previous || (field->number == *previous && field->number != repeated))
        wire->failed = true;
    if (field->type == WIRE_BYTES ? field->bytes.len == 0 : field->value == 0)
        wire->failed = true;
    *previous = field->number;
    return !wire->failed;
}

static bool take_instance(const struct wire_field *field, struct random_id *instance)
{
    if (field->type != WIRE_BYTES || field->bytes.len != sizeof instance->bytes)
        return false;
    memcpy(instance->bytes, field->bytes.data, sizeof instance->bytes);
    return true;
}

static bool take_text(const struct wire_field *field, size_t max, struct slice *text)
{
    if (field->type != WIRE_BYTES || field->bytes.len > max || !slice_is_text(field->bytes, false))
        return false;
    *text = field->bytes;
    return true;
}

static bool take_number(const struct wire_field *field, uint64_t max, uint64_t *value)
{
    if (field->type != WIRE_VARINT || field->value > max)
        return false;
    *value = field->value;
    return true;
}

static bool failure_decode(struct slice bytes, struct lease_failure *failure)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    uint32_t previous = 0;
    bool good = true;
    *failure = (struct lease_failure){0};
    while (good && next_field(&wire, &field, &previous, 0)) {
        if (field.number == 1)
            good = take_number(&field, UINT64_MAX, &failure->first);
        else if (field.number == 2)
            good = take_number(&field, UINT64_MAX, &failure->last);
        else
            good = field.number == 3 && take_text(&field, LIMIT_RECEIPT_REASON, &failure->reason);
    }
    return good && !wire.failed && failure->first > 0 && failure->first <= failure->last;
}

static bool take_failure(const struct wire_field *field, const uint8_t *before, const uint8_t *end,
                         struct lease_item *item)
{
    struct lease_failure failure;
    if (field->type != WIRE_BYTES || !failure_decode(field->bytes, &failure) || item->n_failures == LEASE_FAILURES_MAX)
        return false;
    if (item->n_failures++ == 0)
        item->failure_list = slice_of(before, (size_t)(end - before));
    return true;
}

static bool item_field(const struct wire_field *field, struct lease_item *item)
{
    uint64_t number = 0;
    switch (field->number) {
    case 1:
        return take_instance(field, &item->instance);
    case 2:
        if (!take_number(field, LEASE_GONE, &number))
            return false;
        item->state = (enum lease_state)number;
        return true;
    case 3:
        return take_number(field, UINT64_MAX, &item->want);
    case 4:
        return take_number(field, LEASE_TIME_MAX, &item->left_us);
    case 5:
        return take_number(field, UINT64_MAX, &item->received);
    case 6:
        return take_number(field, UINT64_MAX, &item->enforced);
    case 7:
        item->goodbye = take_number(field, 1, &number);
        return item->goodbye;
    default:
        return false;
    }
}

static bool item_decode(struct slice bytes, struct lease_item *item)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    uint32_t previous = 0, n = 0;
    bool good = true;
    const uint8_t *before = wire.at;
    *item = (struct lease_item){0};
    for (; good && next_field(&wire, &field, &previous, 8); n++, before = wire.at) {
        good = (n == 0) == (field.number == 1) &&
               (field.number == 8 ? take_failure(&field, before, wire.end, item) : item_field(&field, item));
    }
    return good && !wire.failed && n > 0 && (item->want > 0) == (item->state == LEASE_WANTED) &&
           (item->left_us == 0 || item->state != LEASE_ADMITTED) && item->enforced <= item->received;
}

static bool pair_decode(struct slice bytes, uint64_t max, struct random_id *instance, uint64_t *value)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    uint32_t previous = 0;
    *value = 0;
    return next_field(&wire, &field, &previous, 0) && field.number == 1 && take_instance(&field, instance) &&
           next_field(&wire, &field, &previous, 0) && field.number == 2 && take_number(&field, max, value) &&
           wire.at == wire.end;
}

static bool admission_decode(struct slice bytes, struct lease_admission *admission)
{
    return pair_decode(bytes, UINT64_MAX, &admission->instance, &admission->want);
}

static bool end_decode(struct slice bytes, struct lease_ending *end)
{
    uint64_t why = 0;
    if (!pair_decode(bytes, LEASE_END_UNKNOWN, &end->instance, &why))
        return false;
    end->why = (enum lease_end)why;
    return true;
}

static bool waiting_field(const struct wire_field *field, struct lease_waiting *waiting)
{
    uint64_t number = 0;
    switch (field->number) {
    case 1:
        return take_instance(field, &waiting->instance);
    case 2:
        return take_text(field, LIMIT_POINT_ID, &waiting->point);
    case 3:
        if (!take_number(field, UINT8_MAX, &number))
            return false;
        waiting->level = (uint8_t)number;
        return true;
    case 4:
        if (!take_number(field, UINT32_MAX, &number))
            return false;
        waiting->left_ms = (uint32_t)number;
        return true;
    case 5:
        return take_text(field, LIMIT_RECEIPT_REASON, &waiting->reason);
    default:
        return false;
    }
}

static bool waiting_decode(struct slice bytes, struct lease_waiting *waiting)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    uint32_t previous = 0, n = 0;
    bool good = true;
    *waiting = (struct lease_waiting){0};
    for (; good && next_field(&wire, &field, &previous, 0); n++)
        good = (n == 0) == (field.number == 1) && waiting_field(&field, waiting);
    return good && !wire.failed && n > 0 && waiting->level > 0;
}

/* --- Reading frames --- */

static const struct rule *rule_of(uint32_t field, enum lease_kind kind)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (rules[i].field == field)
            return rules[i].kinds & ON(kind) ? &rules[i] : NULL;
    }
    return NULL;
}

static bool take_member(const struct wire_field *field, struct lease_frame *frame)
{
    const struct rule *rule = rule_of(field->number, frame->kind);
    if (rule == NULL || field->type != rule->type || field->value > rule->max)
        return false;
    char *at = (char *)frame + rule->at;
    if (rule->size == 8)
        *(uint64_t *)at = field->value;
    else if (rule->size == 4)
        *(uint32_t *)at = (uint32_t)field->value;
    else
        *(bool *)at = true;
    return true;
}

static bool list_field(const struct wire_field *field, struct lease_frame *frame)
{
    struct lease_item item;
    struct lease_admission admission;
    struct lease_ending end;
    struct lease_waiting waiting;
    bool is_bytes = field->type == WIRE_BYTES;
    switch (field->number) {
    case FIELD_ITEM:
        return frame->kind == LEASE_REPORT && is_bytes && item_decode(field->bytes, &item);
    case FIELD_FOLLOW:
    case FIELD_UNFOLLOW:
        return frame->kind == LEASE_REPORT && field->type == WIRE_VARINT;
    case FIELD_COMPLETE:
        frame->complete = true;
        return frame->kind == LEASE_REPORT && field->type == WIRE_VARINT && field->value == 1;
    case FIELD_ADMISSION:
        return frame->kind == LEASE_ANSWER && is_bytes && admission_decode(field->bytes, &admission);
    case FIELD_END:
        return frame->kind == LEASE_ANSWER && is_bytes && end_decode(field->bytes, &end);
    case FIELD_WAITING:
        return frame->kind == LEASE_PROGRESS && is_bytes && waiting_decode(field->bytes, &waiting);
    default:
        return false;
    }
}

/* Lists may repeat; a frame holds one kind of them, but for a report's. */
static uint32_t may_repeat(uint32_t previous)
{
    return previous >= FIELD_ITEM && previous != FIELD_COMPLETE ? previous : 0;
}

static bool body_decode(struct wire_reader *wire, struct lease_frame *frame)
{
    struct wire_field field;
    uint32_t previous = FIELD_KIND;
    bool good = true;
    const uint8_t *before = wire->at;
    for (; good && next_field(wire, &field, &previous, may_repeat(previous)); before = wire->at) {
        if (field.number >= FIELD_ITEM && frame->list.data == NULL)
            frame->list = slice_of(before, (size_t)(wire->end - before));
        good = field.number < FIELD_ITEM ? take_member(&field, frame) : list_field(&field, frame);
    }
    return good && !wire->failed;
}

static bool is_plausible(const struct lease_frame *frame)
{
    switch (frame->kind) {
    case LEASE_REPORT:
        return frame->sent_us > 0 && (frame->session == 0) == (frame->sequence == 0) &&
               (frame->session > 0 || frame->list.len == 0);
    case LEASE_ANSWER:
        return frame->sent_us > 0 && frame->session > 0 && frame->life > 0;
    case LEASE_PROGRESS:
        return frame->barrier > 0;
    }
    return false;
}

bool lease_frame_for_leader(struct slice frame)
{
    struct wire_reader wire = wire_reader(frame);
    struct wire_field field;
    return wire_next(&wire, &field) && field.number == FIELD_KIND && field.type == WIRE_VARINT &&
           field.value == LEASE_REPORT;
}

bool lease_frame_decode(struct slice bytes, struct lease_frame *frame)
{
    struct wire_reader wire = wire_reader(bytes);
    struct wire_field field;
    if (bytes.len > LEASE_FRAME_MAX || !wire_next(&wire, &field) || field.number != FIELD_KIND ||
        field.type != WIRE_VARINT || field.value < LEASE_REPORT || field.value > LEASE_PROGRESS)
        return false;
    struct lease_frame decoded = {.kind = (enum lease_kind)field.value};
    if (!body_decode(&wire, &decoded) || !is_plausible(&decoded))
        return false;
    *frame = decoded;
    return true;
}

/* --- The iterators --- */

/* The next field `number` of a list that was verified. */
static bool list_next(struct slice *list, uint32_t number, struct wire_field *field)
{
    struct wire_reader wire = wire_reader(*list);
    while (wire_next(&wire, field)) {
        if (field->number != number)
            continue;
        *list = slice_of(wire.at, (size_t)(wire.end - wire.at));
        return true;
    }
    *list = slice_of(NULL, 0);
    return false;
}

bool lease_item_next(struct slice *list, struct lease_item *item)
{
    struct wire_field field;
    return list_next(list, FIELD_ITEM, &field) && item_decode(field.bytes, item);
}

static bool number_next(struct slice *list, uint32_t number, uint64_t *value)
{
    struct wire_field field;
    if (!list_next(list, number, &field))
        return false;
    *value = field.value;
    return true;
}

bool lease_follow_next(struct slice *list, uint64_t *barrier)
{
    return number_next(list, FIELD_FOLLOW, barrier);
}

bool lease_unfollow_next(struct slice *list, uint64_t *barrier)
{
    return number_next(list, FIELD_UNFOLLOW, barrier);
}

bool lease_admission_next(struct slice *list, struct lease_admission *admission)
{
    struct wire_field field;
    return list_next(list, FIELD_ADMISSION, &field) && admission_decode(field.bytes, admission);
}

bool lease_end_next(struct slice *list, struct lease_ending *end)
{
    struct wire_field field;
    return list_next(list, FIELD_END, &field) && end_decode(field.bytes, end);
}

bool lease_waiting_next(struct slice *list, struct lease_waiting *waiting)
{
    struct wire_field field;
    return list_next(list, FIELD_WAITING, &field) && waiting_decode(field.bytes, waiting);
}

bool lease_failure_next(struct slice *list, struct lease_failure *failure)
{
    struct wire_field field;
    return list_next(list, 8, &field) && failure_decode(field.bytes, failure);
}
