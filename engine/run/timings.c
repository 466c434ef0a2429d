/* See timings.h. */
#include "engine/run/timings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/beneath.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/version.h"
#include "formats/json.h"

void qk_timings_text(const double stages[QK_STAGES], char out[QK_TIMINGS_TEXT])
{
    snprintf(out, QK_TIMINGS_TEXT,
             "stages: wait %.1f s, forward %.1f s, rows %.1f s, merge %.1f s; beside them tokenize "
             "%.1f s, write %.1f s",
             stages[QK_STAGE_WAIT], stages[QK_STAGE_FORWARD], stages[QK_STAGE_ROWS],
             stages[QK_STAGE_MERGE], stages[QK_STAGE_TOKENIZE], stages[QK_STAGE_WRITE]);
}

static void add_line(qk_json_out *o, const qk_timings *t)
{
    char when[32] = "", build[QK_BUILD_TEXT], host[256] = "";
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    gethostname(host, sizeof host - 1);
    qk_build(build);
    o->compact = true;
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "ended", when);
    qk_json_add_str(o, "host", host);
    qk_json_add_str(o, "version", build);
    qk_json_add_bool(o, "merged", t->merged);
    qk_json_add_int(o, "units", t->units);
    qk_json_add_int(o, "examples", t->examples);
    qk_json_add_int(o, "tokens", t->tokens);
    qk_json_add_num(o, "seconds", t->seconds);
    qk_json_begin(o, "stages", '{');
    for (int s = 0; s < QK_STAGES; s++)
        qk_json_add_num(o, qk_stage_name((qk_stage)s), t->stages[s]);
    qk_json_end(o, '}');
    qk_json_end(o, '}');
    qk_buf_add_byte(&o->buf, '\n');
}

void qk_timings_note(const char *data_root, const qk_timings *t)
{
    int fd;
    qk_error why;
    qk_json_out o = {0};
    char *path = qk_path_join(data_root, "timings.jsonl");
    add_line(&o, t);
    /* One write at the end of the file: lines of several processes do not mix. */
    qk_status s = qk_open_regular(&fd, path, O_WRONLY | O_CREAT | O_APPEND, &why);
    if (s == QK_OK) {
        if (qk_write_all(fd, o.buf.data, o.buf.size)) s = qk_fail_write(&why, "cannot write", path);
        close(fd);
    }
    if (s != QK_OK) qk_warn("%s; the times of this run are not kept", why.message);
    qk_buf_free(&o.buf);
    free(path);
}
