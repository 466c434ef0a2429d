/* URLs: origins, redirects, and what of them may be shown.
 *
 * An origin is scheme, host and port (RFC 6454); the token belongs to one origin only.
 *
 * next: hub/endpoint.h */
#pragma once

#include "engine/base/mem.h"

/* "https://host:port" with the default port filled in and the host in lower case; NULL when url is
 * not http or https, or carries a user or password. The caller frees. */
char *qk_url_origin(const char *url);
bool qk_url_same_origin(const char *a, const char *b);
/* 127.0.0.0/8, ::1, localhost. */
bool qk_url_is_loopback(const char *url);
bool qk_url_is_https(const char *url);

/* Where a Location (or a Link) leads, seen from `base`: RFC 3986. QK_ERR_FORMAT for another scheme
 * than http and https, for https -> http, for a user in it, and for text that is no URL.
 * The caller frees *out. */
qk_status qk_url_follow(char **out, const char *base, const char *location, qk_error *err);

/* For messages: the URL without query, fragment and user. The caller frees. */
char *qk_url_shown(const char *url);

/* Removes secrets from text in place: `token` (may be NULL), words like hf_... and api_org_...,
 * what follows "Bearer " or "Authorization:", and the queries of URLs. */
void qk_redact(char *text, const char *token);

/* The URL of rel="next" in the values of a Link header (RFC 8288), or NULL. The caller frees. */
char *qk_link_next(const char *link);
