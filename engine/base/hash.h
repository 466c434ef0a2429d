/* SHA-256, git's SHA-1, and base64: all that is asked of OpenSSL's libcrypto for them is here.
 *
 * next: engine/base/sha256.h, hub/oid.h */
#pragma once

#include "engine/base/mem.h"

/* SHA-256 (FIPS 180-4) of bytes, and its 64 hexadecimal digits with a NUL. */
void qk_sha256(const void *bytes, size_t n, uint8_t out[32]);
void qk_sha256_hex(const uint8_t digest[32], char out[65]);

/* The digest of bytes that come one after the other. */
typedef struct evp_md_ctx_st qk_hash;
qk_hash *qk_hash_sha256(void);
/* git's id of a blob of this size: SHA-1 of "blob SIZE\0" and the bytes. */
qk_hash *qk_hash_git(uint64_t size);
void qk_hash_add(qk_hash *h, const void *bytes, size_t n);
/* What it has seen so far replaces what `to` has. */
void qk_hash_copy(qk_hash *to, const qk_hash *from);
/* From the start again, as SHA-256. */
void qk_hash_reset(qk_hash *h);
/* 64 digits, or git's 40; h stays usable for more bytes. */
void qk_hash_hex(const qk_hash *h, char out[65]);
/* The same, and frees it. where h is git's, out may be as short as its digits. */
void qk_hash_end(qk_hash *h, char *out);
void qk_hash_free(qk_hash *h); /* NULL-safe */

/* git's id of a blob. */
void qk_git_hex(const void *bytes, size_t n, char out[41]);

/* Standard base64 with padding (RFC 4648). */
void qk_base64_add(qk_buf *out, const void *bytes, size_t n);
