/* A child can't be presented where its parent could not: it takes over what its parent binds, or binds more narrowly.
 */
#include "store/binding.h"

#include "store/network.h"

/* Whether one of the parent's networks holds all of `text`. Texts were validated when they entered. */
static bool network_covered(const struct grant_binding *parent, struct slice text)
{
    struct network inner, outer;
    bool covered = false;
    if (!network_parse(text, &inner))
        return false;
    for (uint32_t i = 0; i < parent->n_networks && !covered; i++)
        covered = network_parse(parent->networks[i], &outer) && network_covers(&outer, &inner);
    return covered;
}

/* An empty text binds nothing: a parent's leaves all open, a child's will be filled. */
static bool text_kept(struct slice parent, struct slice child)
{
    return parent.len == 0 || child.len == 0 || slice_equal(parent, child);
}

static bool networks_kept(const struct grant_binding *parent, const struct grant_binding *child)
{
    bool kept = true;
    for (uint32_t i = 0; i < child->n_networks && parent->n_networks > 0; i++)
        kept = kept && network_covered(parent, child->networks[i]);
    return kept;
}

static void fill(struct slice parent, struct slice *child)
{
    if (child->len == 0)
        *child = parent;
}

const char *binding_inherit(const struct grant_binding *parent, struct grant_binding *child)
{
    if (!text_kept(parent->spiffe_id, child->spiffe_id))
        return "spiffe_id";
    if (!text_kept(parent->certificate_sha256, child->certificate_sha256))
        return "certificate_sha256";
    if (!networks_kept(parent, child))
        return "networks";
    fill(parent->spiffe_id, &child->spiffe_id);
    fill(parent->certificate_sha256, &child->certificate_sha256);
    if (child->n_networks == 0 && parent->n_networks > 0) {
        memcpy(child->networks, parent->networks, parent->n_networks * sizeof child->networks[0]);
        child->n_networks = parent->n_networks;
    }
    return NULL;
}
