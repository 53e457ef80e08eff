/* What evidence consists of, for the two files that gather it and make the document. */
#ifndef LAPSE_CLIENT_AUDIT_EVIDENCE_INTERNAL_H
#define LAPSE_CLIENT_AUDIT_EVIDENCE_INTERNAL_H

#include "client/audit_evidence.h"

struct evidence {
    char *id;
    bool from_start;
    json_t *grant;    /* as of its last record; NULL: none yet */
    json_t *timeline; /* entries in the order of revisions */
    uint64_t untold;  /* entries that it has no room for */
    json_t *sessions; /* by id, as last seen */
    json_t *review;   /* as last seen; NULL: none */
    json_t *end;      /* NULL: it has not ended */
    json_t *policy;   /* the version that allowed it; NULL: not seen */
    json_t *locks;    /* that denied it */
    bool requested, activated;
    size_t approvals_told;
    uint64_t uses_told;
    int64_t uses_first_ms, uses_last_ms;
    /* Its revocation at the enforcement points. */
    uint64_t end_revision;
    uint64_t barrier;         /* of the command that ended it; 0: not known yet */
    uint32_t points_in_scope; /* registered when it ended, as far as the records tell */
    json_t *barriers;         /* ours by id; "unrecorded": a node has told of it, no record */
    json_t *receipts;         /* that may be ours */
    /* What may become part of the story. */
    json_t *sweeps;   /* at work, by id */
    json_t *swept;    /* by grant, ours or one above it: the ids of the sweeps that may have ended it */
    json_t *parents;  /* of delegated grants, by the child */
    json_t *points;   /* registered, by instance */
    json_t *policies; /* the newest versions by name */
};

#endif
