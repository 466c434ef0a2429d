/* See commit_body.h. */
#include "hub/commit_body.h"

#include "engine/base/hash.h"
#include "formats/json.h"

/* {"key":KEY,"value":{ ... the caller's members ... }} and a newline. */
static qk_json_out begin_line(const char *key)
{
    qk_json_out o = {.compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "key", key);
    qk_json_begin(&o, "value", '{');
    return o;
}

static void end_line(qk_json_out *o, qk_buf *out)
{
    qk_json_end(o, '}');
    qk_json_end(o, '}');
    qk_buf_add(out, o->buf.data, o->buf.size);
    qk_buf_add_byte(out, '\n');
    qk_buf_free(&o->buf);
}

void qk_commit_add_header(qk_buf *out, const char *summary, const char *parent)
{
    qk_json_out o = begin_line("header");
    qk_json_add_str(&o, "summary", summary);
    qk_json_add_str(&o, "description", "");
    if (parent) qk_json_add_str(&o, "parentCommit", parent);
    end_line(&o, out);
}

void qk_commit_add_file(qk_buf *out, const char *path, const void *bytes, size_t n)
{
    qk_buf content = {0};
    qk_base64_add(&content, bytes, n);
    qk_json_out o = begin_line("file");
    qk_json_add_strn(&o, "content", (const char *)content.data, content.size);
    qk_json_add_str(&o, "path", path);
    qk_json_add_str(&o, "encoding", "base64");
    end_line(&o, out);
    qk_buf_free(&content);
}

void qk_commit_add_lfs(qk_buf *out, const char *path, const char *sha256, uint64_t size)
{
    qk_json_out o = begin_line("lfsFile");
    qk_json_add_str(&o, "path", path);
    qk_json_add_str(&o, "algo", "sha256");
    qk_json_add_str(&o, "oid", sha256);
    qk_json_add_int(&o, "size", (int64_t)size);
    end_line(&o, out);
}

void qk_commit_add_deletion(qk_buf *out, const char *path)
{
    qk_json_out o = begin_line("deletedFile");
    qk_json_add_str(&o, "path", path);
    end_line(&o, out);
}
