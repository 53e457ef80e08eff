/* A child grant's binding under its parent's. Internal to store/. */
#ifndef LAPSE_STORE_BINDING_H
#define LAPSE_STORE_BINDING_H

#include "store/grant.h"

/* Fills each member that `child` leaves empty with its parent's. NULL when the result is no wider than the parent's in
 * any member; otherwise the name of the first that is, and `child` is untouched. What a parent leaves free a child may
 * bind. */
const char *binding_inherit(const struct grant_binding *parent, struct grant_binding *child);

#endif
