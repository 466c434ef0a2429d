/* One request to one URL: the only place that touches a libcurl handle. Private to hub/http.
 *
 * next: hub/hop.c */
#pragma once

#include "hub/http.h"

typedef struct qk_hop {
    const char *method;
    char *url; /* owned by the caller */
    bool has_body, at_endpoint, send_token;
} qk_hop;

/* Fills reply: status, headers, body or sink. QK_OK: a complete reply. */
qk_status qk_hop_run(qk_http *http, const qk_http_request *q, const qk_hop *hop,
                     qk_http_reply *reply, qk_error *err);
/* Keeps one line "Name: value" of a reply's headers; other lines are passed over. */
void qk_http_add_header(qk_http_reply *reply, const char *line, size_t n);
const qk_hub *qk_http_hub(const qk_http *http);
/* The jitter of this connection's waits. */
uint64_t *qk_http_random(qk_http *http);
