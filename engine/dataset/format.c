/* See format.h. */
#include "engine/dataset/format.h"

#include <stdlib.h>
#include <string.h>

enum { COUNTED_FILES = 200, N_READ = 4 }; /* the first four kinds are qk_format */

static const char *const kind_names[] = {"Parquet", "JSON", "text", "CSV",        "Arrow",
                                         "zip",     "XML",  "HDF5", "WebDataset", "media"};
enum { MEDIA = sizeof kind_names / sizeof *kind_names - 1 };

static const struct extension {
    const char *name;
    int kind; /* of kind_names */
    int rank; /* in a tie */
} extensions[] = {
    {"parquet", QK_FORMAT_PARQUET, 4},
    {"geoparquet", QK_FORMAT_PARQUET, 0},
    {"gpq", QK_FORMAT_PARQUET, 0},
    {"jsonl", QK_FORMAT_JSON, 3},
    {"json", QK_FORMAT_JSON, 2},
    {"ndjson", QK_FORMAT_JSON, 0},
    {"txt", QK_FORMAT_TEXT, 0},
    {"csv", QK_FORMAT_CSV, 1},
    {"tsv", QK_FORMAT_CSV, 0},
    {"arrow", 4, 0},
    {"zip", 5, 0},
    {"xml", 6, 0},
    {"hdf5", 7, 0},
    {"h5", 7, 0},
    {"tar", 8, 0},
};
enum { N_EXTENSIONS = sizeof extensions / sizeof *extensions, N_COUNTED = N_EXTENSIONS + 1 };

/* Images, sound, films, pages: `datasets` has a reader for each, and takes small or capital
 * letters. They count where a card names them; else they lie beside the data. */
static const char media[] =
    " blp bmp dib bufr cur pcx dcx dds ps eps fit fits fli flc ftc ftu gbr gif grib png apng jp2 "
    "j2k jpc jpf jpx j2c icns ico im iim tif tiff jfif jpe jpg jpeg msp pcd pxr pbm pgm ppm pnm "
    "psd bw rgb rgba sgi ras tga icb vda vst webp wmf emf xbm xpm mpg aiff au avr caf flac htk svx "
    "mat4 mat5 mpc2k ogg paf pvf raw rf64 sd2 sds ircam voc w64 wav nist wavex wve xi mp3 opus 3gp "
    "3g2 asf flv m4v webm f4v wmv wma ogm mxf nut mpeg avi mp4 mov mkv pdf nii ";

/* The next dotted part of a file name behind *at; NULL at the end. Sets its length. */
static const char *next_part(const char *at, size_t *length)
{
    const char *dot = strchr(at, '.');
    if (!dot) return NULL;
    *length = strcspn(dot + 1, ".");
    return dot + 1;
}

static bool is_media(const char *part, size_t length)
{
    char word[16] = " ";
    bool capital = length && part[0] >= 'A' && part[0] <= 'Z';
    if (!length || length + 3 > sizeof word) return false;
    for (size_t i = 0; i < length; i++) {
        bool is_capital = part[i] >= 'A' && part[i] <= 'Z',
             digit = part[i] >= '0' && part[i] <= '9';
        if (part[i] == ' ' || (!digit && is_capital != capital && part[0] > '9')) return false;
        word[1 + i] = is_capital ? (char)(part[i] - 'A' + 'a') : part[i];
    }
    word[1 + length] = ' ';
    return strstr(media, word) != NULL;
}

/* An index of extensions, N_EXTENSIONS for media, or -1. */
static int extension_of(const char *part, size_t length)
{
    for (int i = 0; i < N_EXTENSIONS; i++)
        if (strlen(extensions[i].name) == length && !memcmp(extensions[i].name, part, length))
            return i;
    return is_media(part, length) ? N_EXTENSIONS : -1;
}

static int kind_of(int extension)
{
    return extension == N_EXTENSIONS ? MEDIA : extensions[extension].kind;
}

static bool beats(int a, int b, const size_t *counts)
{
    if (counts[a] != counts[b]) return counts[a] > counts[b];
    if (a == N_EXTENSIONS || b == N_EXTENSIONS) return a < b;
    if (extensions[a].rank != extensions[b].rank) return extensions[a].rank > extensions[b].rank;
    return strcmp(extensions[a].name, extensions[b].name) > 0;
}

/* The extension of most of a split's files, or -1. */
static int infer(const qk_data_files *all, const qk_names *files)
{
    size_t counts[2][N_COUNTED] = {0}, length;
    for (size_t i = 0; i < files->count && i < COUNTED_FILES; i++) {
        const char *name = qk_path_name(files->items[i]);
        /* tables that say more about the pictures beside them */
        bool metadata = !strcmp(name, "metadata.csv") || !strcmp(name, "metadata.jsonl") ||
                        !strcmp(name, "metadata.parquet");
        for (const char *p = name; (p = next_part(p, &length));) {
            int e = extension_of(p, length);
            if (e >= 0 && (e < N_EXTENSIONS || all->from_card)) counts[metadata][e]++;
        }
    }
    for (int metadata = 0; metadata < 2; metadata++) {
        int best = 0;
        for (int i = 1; i < N_COUNTED; i++)
            if (beats(i, best, counts[metadata])) best = i;
        if (counts[metadata][best]) return best;
    }
    return -1;
}

/* Whether a part of the name is an extension of this kind; of any when kind is -1. */
static bool has_kind(const char *path, int kind)
{
    size_t length;
    for (const char *p = qk_path_name(path); (p = next_part(p, &length));) {
        int e = extension_of(p, length);
        if (e >= 0 && (kind < 0 || kind_of(e) == kind)) return true;
    }
    return false;
}

bool qk_format_knows(const char *path)
{
    return has_kind(path, -1);
}

bool qk_format_is_tsv(const char *path)
{
    bool tsv = false;
    size_t length;
    for (const char *p = qk_path_name(path); (p = next_part(p, &length));) {
        if (length != 3) continue;
        if (!memcmp(p, "csv", 3)) return false;
        tsv |= !memcmp(p, "tsv", 3);
    }
    return tsv;
}

typedef struct wanted {
    int kind;
    bool tsv;          /* of CSV */
    const char *empty; /* the last split without data files, or NULL */
} wanted;

static bool is_tsv(int extension)
{
    return !strcmp(extension == N_EXTENSIONS ? "" : extensions[extension].name, "tsv");
}

/* The one format of all splits. kind is -1 when no file has any. */
static qk_status find_format(wanted *w, const qk_data_files *files, const char *path, qk_error *err)
{
    *w = (wanted){.kind = -1};
    for (size_t i = 0; i < files->count; i++) {
        int e = infer(files, &files->splits[i].files);
        if (e < 0) {
            w->empty = files->splits[i].name;
            continue;
        }
        if (w->kind >= 0 && kind_of(e) != w->kind)
            return qk_fail(err, QK_ERR_FORMAT, "give all splits one format",
                           "%s: one split is %s, another %s", path, kind_names[w->kind],
                           kind_names[kind_of(e)]);
        if (w->kind >= 0 && is_tsv(e) != w->tsv)
            return qk_fail(err, QK_ERR_FORMAT, "give all splits one format",
                           "%s: one split is .csv, another .tsv", path);
        w->kind = kind_of(e);
        w->tsv = is_tsv(e);
    }
    return QK_OK;
}

static qk_status check_file(const qk_data_files *all, const char *file, const wanted *w,
                            qk_error *err)
{
    if (!has_kind(file, w->kind)) {
        if (!all->from_card || !has_kind(file, -1)) return QK_OK;
        return qk_fail(err, QK_ERR_FORMAT,
                       "let the patterns of all configurations match one format",
                       "%s: a configuration in README.md takes this file, but it is not %s like "
                       "%s",
                       file, kind_names[w->kind],
                       all->is_later_config ? "those of the first one" : "its others");
    }
    if (w->kind != QK_FORMAT_CSV || qk_format_is_tsv(file) == w->tsv) return QK_OK;
    return qk_fail(err, QK_ERR_FORMAT, "give all files one name ending",
                   "%s: by its name this file has %s between its fields, while the others have %s",
                   file, w->tsv ? "commas" : "tabs", w->tsv ? "tabs" : "commas");
}

/* Checks all files, and keeps those of the format. */
static qk_status keep_files(const qk_data_files *all, qk_names *files, const wanted *w,
                            qk_error *err)
{
    size_t kept = 0, n = files->count;
    qk_status s = QK_OK;
    for (size_t i = 0; i < n; i++) {
        char *file = files->items[i];
        if (s == QK_OK) s = check_file(all, file, w, err);
        if (has_kind(file, w->kind))
            files->items[kept++] = file;
        else
            free(file);
    }
    files->count = kept;
    return s;
}

qk_status qk_data_files_keep_one_format(qk_data_files *files, const qk_data_files *first,
                                        const char *path, qk_error *err)
{
    wanted own, w;
    qk_error none;
    QK_TRY(find_format(&own, files, path, err));
    bool led = first && find_format(&w, first, path, &none) == QK_OK && w.kind >= 0;
    if (!led) w = own;
    if (own.kind < 0)
        return qk_fail(err, QK_ERR_NOTFOUND, QK_FORMAT_HINT,
                       "%s: no data files (.parquet, .jsonl, .json, .csv, .tsv or .txt)", path);
    if (w.kind >= N_READ)
        return qk_fail(err, QK_ERR_UNSUPPORTED, QK_FORMAT_HINT, "%s: %s files are not supported",
                       path, kind_names[w.kind]);
    if (own.empty && !files->is_later_config)
        return qk_fail(err, QK_ERR_NOTFOUND, "correct its names, or the configs in README.md",
                       "%s: split '%s' has no data files, while others have %s files", path,
                       own.empty, kind_names[own.kind]);
    files->format = (qk_format)w.kind;
    size_t kept = 0;
    qk_status s = QK_OK;
    for (size_t i = 0; i < files->count; i++) {
        qk_data_split split = files->splits[i];
        if (s == QK_OK) s = keep_files(files, &split.files, &w, err);
        if (split.files.count)
            files->splits[kept++] = split;
        else
            qk_data_split_free(&split);
    }
    files->count = kept;
    return s;
}

const char *qk_format_name(qk_format format)
{
    return kind_names[format];
}
