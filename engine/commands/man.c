/* qkengine man: the manual page qkengine(1), in the macros of man(7), from the tables of cli.h and
 * engine/config/keys.h.
 *
 * next: engine/commands/completion.c */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/version.h"
#include "engine/commands/cli.h"
#include "engine/config/keys.h"

enum { COLUMNS = 72 }; /* of the source; what is escaped makes a line longer */

typedef struct item {
    const char *name, *text;
} item;

static const item variables[] = {
    {"HF_TOKEN, HUGGING_FACE_HUB_TOKEN",
     "The token for the Hub; else the file that HF_TOKEN_PATH names ($HF_HOME/token)."},
    {"HF_HUB_DISABLE_IMPLICIT_TOKEN", "Send no token."},
    {"HF_ENDPOINT", "Another server than https://huggingface.co."},
    {"HF_HOME, HF_HUB_CACHE",
     "Where the cache lies that is shared with Python: ~/.cache/huggingface, and hub in it. "
     "HUGGINGFACE_HUB_CACHE is the older name of the second one."},
    {"HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE",
     "Open no connection; only what the cache has is used."},
    {"HF_HUB_DISABLE_SYMLINKS", "Snapshots in the cache hold files instead of links."},
    {"HF_HUB_DOWNLOAD_TIMEOUT", "Seconds of silence that end a connection (default: 10)."},
    {"QKENGINE_CACHE",
     "Where digests of files are noted (default: $XDG_CACHE_HOME/qkengine, ~/.cache/qkengine). "
     "off: nowhere, and every start reads everything."},
    {"OMP_NUM_THREADS, SLURM_CPUS_PER_TASK",
     "How many threads compute where inference.threads (--threads) does not say it. Without the "
     "first as many as there are CPUs that the process may use (affinity, quota of its control "
     "group), and not more than the second says."},
    {"OMP_STACKSIZE", "The stack of a thread that computes: 4096 (kB), 4M. No other variable of "
                      "OpenMP has an effect."},
    {"CUDA_HOME, CUDA_VISIBLE_DEVICES",
     "Where the CUDA toolkit lies; which GPU is used, the first of those named."},
    {"SSL_CERT_FILE, SSL_CERT_DIR", "The certificate authorities of a private network."},
    {"https_proxy, http_proxy, all_proxy, no_proxy",
     "Proxies, in lower or upper case. This machine is always reached directly."},
    {"NO_COLOR", "No colours on a terminal."},
    {0},
};

static const item files[] = {
    {"output.data_root/final", "The dataset that a run has made: what is pushed."},
    {"output.data_root/partial", "What merge --partial has made of a run that is not complete."},
    {"output.data_root/staging", "Work in progress: units of a run that is not complete."},
    {"~/.cache/huggingface/hub", "Models and datasets of the Hub."},
    {"~/.cache/qkengine/digests", "Digests of files that were read before."},
    {".env", "In the working folder: may set HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_HOME, "
             "HF_HUB_CACHE and HF_HUB_OFFLINE where the environment does not."},
    {0},
};

static const item statuses[] = {
    {"0", "Done."},
    {"1", "Bad input; of diff and verify also: beyond the tolerance."},
    {"2", "Wrong usage."},
    {"3", "Stopped, and the same command goes on: a signal, a full disk, the network, a GPU that "
          "fails."},
    {0},
};

static const item examples[] = {
    {"qkengine plan my.yaml", "What a run would do, before any weights are read."},
    {"qkengine run my.yaml --set capture.layers=0,5", "The run, of two layers only."},
    {"qkengine push data/final someone/vectors", "Its result, to the Hub."},
    {"qkengine inspect texts --split train[:10] --text-column content",
     "What a dataset holds, and the first rows that a run would take."},
    {"qkengine synth --like qwen3-8b --layers 2 small", "A random checkpoint, for trying."},
    {"qkengine bench --like smollm2-135m", "What capture costs here, without a download."},
    {0},
};

/* Text as roff shows it, letter by letter; what stands in ` ` is bold. Filled: a line ends where a
 * sentence or the line's length does, and a paragraph at a newline; else it is one line. */
static void add(qk_buf *out, const char *text, bool filled)
{
    size_t line = out->size;
    bool bold = false, starts = filled;
    for (const char *s = text; *s; s++) {
        if (*s == '\n') {
            qk_buf_add_str(out, "\n.PP\n");
            line = out->size, starts = true;
            continue;
        }
        if (*s == ' ') {
            size_t word = strcspn(s + 1, " \n");
            bool ends = filled && (strchr(".?!", s[-1]) || out->size - line + word > COLUMNS);
            qk_buf_add_byte(out, ends ? '\n' : ' ');
            if (ends) line = out->size, starts = true;
            continue;
        }
        if (starts && (*s == '.' || *s == '\'')) qk_buf_add_str(out, "\\&");
        starts = false;
        if (*s == '`')
            qk_buf_add_str(out, (bold = !bold) ? "\\fB" : "\\fR");
        else if (*s == '\\')
            qk_buf_add_str(out, "\\e");
        else if (*s == '-')
            qk_buf_add_str(out, "\\-");
        else if (*s == '\'')
            qk_buf_add_str(out, "\\(aq");
        else if (*s == '"')
            qk_buf_add_str(out, "\\(dq");
        else if (*s == '~')
            qk_buf_add_str(out, "\\(ti");
        else if (*s == '^')
            qk_buf_add_str(out, "\\(ha");
        else
            qk_buf_add_byte(out, (uint8_t)*s);
    }
    qk_buf_add_byte(out, '\n');
}

/* The text that hangs below a tag. */
static void add_item(qk_buf *out, const char *tag, const char *text)
{
    qk_buf_add_str(out, ".TP\n");
    add(out, tag, false);
    add(out, text, true);
}

static void add_items(qk_buf *out, const char *title, const item *items)
{
    qk_buf_addf(out, ".SH %s\n", title);
    for (const item *i = items; i->name; i++) {
        char *tag = qk_strf("`%s`", i->name);
        add_item(out, tag, i->text);
        free(tag);
    }
}

static void add_command(qk_buf *out, const qk_command *c)
{
    qk_buf tag = {0}, text = {0};
    qk_help_usage(&tag, c);
    qk_buf_add_str(out, ".SS ");
    add(out, qk_buf_str(&tag), false);
    qk_buf_addf(&text, "%c%s.", c->summary[0] & ~0x20, c->summary + 1);
    if (c->details) qk_buf_addf(&text, "\n%s", c->details);
    add(out, qk_buf_str(&text), true);
    for (const qk_option *o = c->options; o && o->name; o++) {
        qk_buf_clear(&tag), qk_buf_clear(&text);
        qk_buf_addf(&tag, "`--%s`", o->name);
        qk_help_value(&tag, o);
        qk_help_option(&text, o);
        add_item(out, qk_buf_str(&tag), qk_buf_str(&text));
    }
    qk_buf_free(&tag);
    qk_buf_free(&text);
}

static void add_keys(qk_buf *out)
{
    qk_buf tag = {0}, text = {0};
    qk_buf_add_str(out, ".SH CONFIGURATION\n");
    add(out,
        "A YAML file of these keys, each in its section. `--set` SECTION.KEY=VALUE, whose value is "
        "YAML too, changes one of them.",
        true);
    for (size_t i = 0; i < qk_config_n_keys; i++) {
        const qk_config_key *k = &qk_config_keys[i];
        qk_buf_clear(&tag), qk_buf_clear(&text);
        qk_buf_addf(&tag, "`%s.%s`", k->section, k->name);
        qk_buf_addf(&text, "%s (", k->meaning);
        if (k->words)
            qk_config_add_words(&text, k->words);
        else
            qk_buf_add_str(&text, k->type->name);
        if (k->required)
            qk_buf_add_str(&text, "; required)");
        else
            qk_buf_addf(&text, "; default: `%s`)", k->fallback ? k->fallback : "null");
        add_item(out, qk_buf_str(&tag), qk_buf_str(&text));
    }
    qk_buf_free(&tag);
    qk_buf_free(&text);
}

static qk_status run(const qk_args *args, qk_error *err)
{
    (void)args, (void)err;
    qk_buf out = {0};
    qk_buf_add_str(&out,
                   ".TH QKENGINE 1 " QK_VERSION_DATE " \"qkengine " QK_VERSION "\"\n.SH NAME\n"
                   "qkengine \\- keep sampled attention queries and keys of a transformer\n"
                   ".SH SYNOPSIS\n");
    for (const qk_command *const *c = qk_commands; *c; c++) {
        qk_buf usage = {0};
        qk_buf_add_str(&usage, "`qkengine` ");
        qk_help_usage(&usage, *c);
        if ((*c)->options) qk_buf_add_str(&usage, " [OPTION ...]");
        if (c > qk_commands) qk_buf_add_str(&out, ".br\n");
        add(&out, qk_buf_str(&usage), false);
        qk_buf_free(&usage);
    }
    qk_buf_add_str(&out, ".SH DESCRIPTION\n");
    add(&out,
        "Runs a transformer over the texts of a dataset and writes a sampled set of the query "
        "and key vectors of its attention heads, one Parquet file for each layer, head and "
        "kind, ready for the Python package datasets. Nothing is lost in a crash, any number "
        "of processes share a run, and the same run always writes the same bytes.\n"
        "Results are on standard output, messages on standard error. `--help` behind a command "
        "shows its options, `qkengine --version` the version.",
        true);
    qk_buf_add_str(&out, ".SH COMMANDS\n");
    for (const qk_command *const *c = qk_commands; *c; c++) add_command(&out, *c);
    add_keys(&out);
    add_items(&out, "ENVIRONMENT", variables);
    add_items(&out, "FILES", files);
    add_items(&out, "EXIT STATUS", statuses);
    add_items(&out, "EXAMPLES", examples);
    fputs(qk_buf_str(&out), stdout);
    qk_buf_free(&out);
    return QK_OK;
}

const qk_command qk_command_man = {
    .name = "man",
    .summary = "print the manual page: qkengine man | man -l -",
    .details = "Everything that help says, the keys of a configuration, environment variables and "
               "files, in the macros of man(7). make install puts it in share/man.",
    .run = run,
};
