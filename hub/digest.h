/* The running digest of a content under its Hub name. Private to hub/. */
#pragma once

#include "hub/listing.h"

typedef struct evp_md_ctx_st qk_digest;

/* SHA-256, or git's SHA-1 with its "blob SIZE\0" in front, by the length of the name. */
qk_digest *qk_digest_begin(const qk_hub_file *file);
void qk_digest_add(qk_digest *digest, const void *bytes, size_t n);
/* Ends it: 64 or 40 digits and a NUL. */
void qk_digest_hex(qk_digest *digest, char hex[72]);
/* Ends it; true: it is the file's. */
bool qk_digest_end(qk_digest *digest, const qk_hub_file *file);
void qk_digest_free(qk_digest *digest); /* NULL-safe */
