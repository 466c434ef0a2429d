#!/bin/sh
# What files say of other files: a path (engine/run/plan.h, engine/run/plan), the name of a source in a comment ("See plan.h",
# "next: plan.c") and a link of a README must be of something that is there. Patterns, and names with capitals (fuzz_NAME.c), are none.
git ls-files | grep -vE '^tests/(data|fuzz/corpus)/' | grep -E '\.(c|h|cu|py|sh|md|mk|yaml)$|^Makefile$|^\.ci/' |
    xargs awk '
    function fail(what) { print FILENAME ":" FNR ": there is no " what; failed = 1 }
    function note(path) {
        there[path]
        for (part = path; sub("/[^/]*$", "", part);) there[part]
        base = path
        sub(".*/", "", base)
        names[base]
        if (sub("\\.[a-z]+$", "", path)) there[path]
    }
    # Each match of `pattern` in `text`: name, and the characters on both sides of it
    function find(pattern) {
        if (!match(text, pattern)) return 0
        before = RSTART > 1 ? substr(text, RSTART - 1, 1) : last
        name = substr(text, RSTART, RLENGTH)
        text = substr(text, RSTART + RLENGTH)
        last = substr(name, length(name), 1)
        after = substr(text, 1, 1)
        return 1
    }
    BEGIN { while (("git ls-files" | getline path) > 0) note(path) }
    FNR == 1 { is_c = FILENAME ~ "\\.(c|h|cu)$"; is_md = FILENAME ~ "\\.md$"; folder = FILENAME; if (!sub("/[^/]*$", "/", folder)) folder = ""; comment = 0 }
    {
        text = $0; last = ""
        while (find("(engine|kernels|formats|sampler|tests|configs|hub)/[A-Za-z0-9_./-]*")) {
            if (before ~ "[A-Za-z0-9_./$}-]" || after ~ "[*?{}<$%\\[\\\\]" || name ~ "[A-Z]" && name !~ "README") continue
            if (name ~ "^hub/" && name !~ "\\.[ch]$") continue # also a folder of the cache, and of others
            sub("[./]+$", "", name)
            if (!(name in there)) fail(name)
        }
        text = $0; last = ""
        if (is_c) { # comments only
            if (comment) { if (sub("\\*/.*", "", text)) comment = 0 }
            else if (sub(".*/\\*", "", text)) { if (!sub("\\*/.*", "", text)) comment = 1 }
            else if (!sub(".*//", "", text)) text = ""
        }
        said = text
        if (is_c || is_md)
            while (find("[a-z0-9_]+\\.(cu|[ch]|sh|py)"))
                if (before !~ "[A-Za-z0-9_./<-]" && after !~ "[A-Za-z0-9_]" && !(name in names)) fail(name)
        text = said; last = ""
        while ((is_c || is_md) && find("(golden|oracle|design)/[A-Za-z_.]+")) # of folders that are no part of the repository
            if (before !~ "[A-Za-z0-9_./>-]") fail(name)
        text = $0; last = ""
        if (is_md)
            while (find("\\]\\([^)#: ]+[)#]")) {
                name = folder substr(name, 3, length(name) - 3)
                sub("/$", "", name)
                while (sub("[^/]+/\\.\\./", "", name)) {}
                if (!(name in there)) fail(name)
            }
    }
    END { if (!failed) print "names: every file that is spoken of is there"; exit failed }'
