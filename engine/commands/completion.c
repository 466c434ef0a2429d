/* qkengine completion SHELL: a script that completes commands, options and their values, from the
 * tables of cli.h, engine/config/keys.h and engine/families/presets.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/commands/cli.h"
#include "engine/config/keys.h"
#include "engine/families/presets.h"

/* Between single quotes. Of what the shell, or zsh's _arguments, would take for its own, each letter
 * stands behind a backslash. */
static void add_quoted(qk_buf *out, const char *text, const char *special)
{
    for (const char *s = text; *s; s++) {
        if (strchr(special, *s)) qk_buf_add_byte(out, '\\');
        if (*s == '\'' && !strchr(special, '\''))
            qk_buf_add_str(out, "'\\''");
        else
            qk_buf_add_byte(out, (uint8_t)*s);
    }
}

/* The words of a type that are known here, with spaces between; nothing for other types. */
static void add_known(qk_buf *out, qk_value_type type, const char *const *words)
{
    const qk_preset *p;
    for (const char *const *w = words; w && *w; w++)
        qk_buf_addf(out, "%s%s", w == words ? "" : " ", *w);
    for (const qk_command *const *c = qk_commands; *c && type == QK_VALUE_COMMAND; c++)
        qk_buf_addf(out, "%s ", (*c)->name);
    if (type == QK_VALUE_COMMAND) qk_buf_add_str(out, "config");
    for (size_t i = 0; type == QK_VALUE_PRESET && (p = qk_preset_at(i)); i++)
        qk_buf_addf(out, "%s%s", i ? " " : "", p->name);
}

/* "float32 float16 bfloat16", or true and false; false: a key takes no words. */
static bool add_key_words(qk_buf *out, const qk_config_key *k)
{
    if (k->type == &qk_config_bool) qk_buf_add_str(out, "true false");
    for (const qk_config_word *w = k->words; w && w->word; w++)
        qk_buf_addf(out, "%s%s", w == k->words ? "" : " ", w->word);
    return k->words || k->type == &qk_config_bool;
}

/* ---- bash ---- */

/* What `takes` is for a value: @ and a kind, or the words themselves. */
static void add_bash_case(qk_buf *out, const char *command, const char *what, qk_value_type type,
                          const char *const *words)
{
    qk_buf_addf(out, "    %s:%s) takes='", command, what);
    switch (type) {
    case QK_VALUE_SETTING: qk_buf_add_str(out, "@setting"); break;
    case QK_VALUE_CONFIG: qk_buf_add_str(out, "@config"); break;
    case QK_VALUE_FILE: qk_buf_add_str(out, "@file"); break;
    case QK_VALUE_FOLDER: qk_buf_add_str(out, "@folder"); break;
    default: add_known(out, type, words);
    }
    qk_buf_add_str(out, "' ;;\n");
}

/* Its name, and with each word that may follow in the same argument: "--json --json=line ". */
static void add_bash_option(qk_buf *out, const qk_option *o)
{
    qk_buf_addf(out, "--%s ", o->name);
    for (const char *const *w = o->attached ? o->words : NULL; w && *w; w++)
        qk_buf_addf(out, "--%s=%s ", o->name, *w);
}

/* NAME=VALUE is three words; "before" is the name then, with its = where a value cannot stand in an
 * argument of its own: "plan:--json=". */
static void add_bash_before(qk_buf *out)
{
    qk_buf_add_str(out,
                   "    if [[ $word == = || $before == = ]]; then\n"
                   "        [[ $word == = ]] && word= || before=${COMP_WORDS[COMP_CWORD - 2]}\n"
                   "        case $command:$before in\n        ");
    const char *separator = "";
    for (const qk_command *const *c = qk_commands; *c; c++)
        for (const qk_option *o = (*c)->options; o && o->name; o++)
            if (o->attached) {
                qk_buf_addf(out, "%s%s:--%s", separator, (*c)->name, o->name);
                separator = " | ";
            }
    qk_buf_add_str(out, ") before+== ;;\n        esac\n    fi\n");
}

static void add_bash(qk_buf *out)
{
    qk_buf_add_str(out, "# bash completion for qkengine: qkengine completion bash\n"
                        "_qkengine()\n{\n"
                        "    local command=${COMP_WORDS[1]} word=${COMP_WORDS[COMP_CWORD]}\n"
                        "    local before=${COMP_WORDS[COMP_CWORD - 1]} takes= n=0 i\n"
                        "    COMPREPLY=()\n"
                        "    if ((COMP_CWORD == 1)); then\n"
                        "        mapfile -t COMPREPLY < <(compgen -W '");
    for (const qk_command *const *c = qk_commands; *c; c++) qk_buf_addf(out, "%s ", (*c)->name);
    qk_buf_add_str(out, "--help --version' -- \"$word\")\n        return\n    fi\n"
                        "    # NAME=VALUE is three words\n");
    add_bash_before(out);
    qk_buf_add_str(out, "    case $command:$before in\n");
    for (const qk_command *const *c = qk_commands; *c; c++)
        for (const qk_option *o = (*c)->options; o && o->name; o++) {
            char name[64];
            snprintf(name, sizeof name, "--%s%s", o->name, o->attached ? "=" : "");
            if (qk_option_takes_word(o) || o->attached)
                add_bash_case(out, (*c)->name, name, o->type, o->words);
        }
    for (size_t i = 0; i < qk_config_n_keys; i++) {
        const qk_config_key *k = &qk_config_keys[i];
        qk_buf words = {0};
        if (add_key_words(&words, k))
            qk_buf_addf(out, "    *:%s.%s) takes='%s' ;;\n", k->section, k->name,
                        qk_buf_str(&words));
        qk_buf_free(&words);
    }
    qk_buf_add_str(out, "    *:*)\n"
                        "        # an option, or which argument?\n"
                        "        if [[ $word == -* ]]; then\n"
                        "            case $command in\n");
    for (const qk_command *const *c = qk_commands; *c; c++) {
        qk_buf_addf(out, "            %s) takes='", (*c)->name);
        for (const qk_option *o = (*c)->options; o && o->name; o++) add_bash_option(out, o);
        qk_buf_add_str(out, "--help' ;;\n");
    }
    qk_buf_add_str(out, "            esac\n"
                        "        else\n"
                        "            for ((i = 2; i < COMP_CWORD; i++)); do\n"
                        "                case $command:${COMP_WORDS[i]} in\n"
                        "                ");
    for (const qk_command *const *c = qk_commands; *c; c++)
        for (const qk_option *o = (*c)->options; o && o->name; o++)
            if (qk_option_takes_word(o)) qk_buf_addf(out, "%s:--%s | ", (*c)->name, o->name);
    qk_buf_add_str(out, "*:=)\n"
                        "                    ((i++))\n"
                        "                    [[ ${COMP_WORDS[i]} == = ]] && ((i++)) ;;\n"
                        "                *:-?*) ;;\n"
                        "                *) ((n++)) ;;\n"
                        "                esac\n"
                        "            done\n"
                        "            case $command:$n in\n");
    for (const qk_command *const *c = qk_commands; *c; c++)
        for (int i = 0; (*c)->arguments[i].name; i++) {
            const qk_argument *a = &(*c)->arguments[i];
            char position[8];
            snprintf(position, sizeof position, "%d", i);
            qk_buf_add_str(out, "        ");
            add_bash_case(out, (*c)->name, position, a->type, a->words);
        }
    qk_buf_add_str(out, "            esac\n        fi ;;\n    esac\n"
                        "    case $takes in\n"
                        "    @setting)\n        compopt -o nospace\n"
                        "        mapfile -t COMPREPLY < <(compgen -S = -W '");
    for (size_t i = 0; i < qk_config_n_keys; i++)
        qk_buf_addf(out, "%s%s.%s", i ? " " : "", qk_config_keys[i].section,
                    qk_config_keys[i].name);
    qk_buf_add_str(out,
                   "' -- \"$word\") ;;\n"
                   "    @config)\n        compopt -o filenames\n"
                   "        mapfile -t COMPREPLY < <(compgen -d -- \"$word\"\n"
                   "            compgen -f -X '!*.yaml' -- \"$word\"; compgen -f -X '!*.yml' -- "
                   "\"$word\") ;;\n"
                   "    @file)\n        compopt -o filenames\n"
                   "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
                   "    @folder)\n        compopt -o filenames\n"
                   "        mapfile -t COMPREPLY < <(compgen -d -- \"$word\") ;;\n"
                   "    *) mapfile -t COMPREPLY < <(compgen -W \"$takes\" -- \"$word\") ;;\n"
                   "    esac\n}\ncomplete -F _qkengine qkengine\n");
}

/* ---- zsh ---- */

static const char zsh_special[] = "[]:\\";

static void add_zsh_value(qk_buf *out, qk_value_type type, const char *const *words)
{
    switch (type) {
    case QK_VALUE_SETTING: qk_buf_add_str(out, "_qkengine_setting"); return;
    case QK_VALUE_CONFIG: qk_buf_add_str(out, "_files -g \"*.(yaml|yml)(-.)\""); return;
    case QK_VALUE_FILE: qk_buf_add_str(out, "_files"); return;
    case QK_VALUE_FOLDER: qk_buf_add_str(out, "_files -/"); return;
    case QK_VALUE_WORD:
    case QK_VALUE_COMMAND:
    case QK_VALUE_PRESET:
        qk_buf_add_byte(out, '(');
        add_known(out, type, words);
        qk_buf_add_byte(out, ')');
        return;
    default: qk_buf_add_byte(out, ' '); /* anything */
    }
}

static void add_zsh(qk_buf *out)
{
    qk_buf help = {0};
    qk_buf_add_str(out,
                   "#compdef qkengine\n# zsh completion for qkengine: qkengine completion zsh\n"
                   "_qkengine_setting() {\n"
                   "  if compset -P 1 '*='; then\n    case $IPREFIX in\n");
    for (size_t i = 0; i < qk_config_n_keys; i++) {
        const qk_config_key *k = &qk_config_keys[i];
        qk_buf words = {0};
        if (add_key_words(&words, k))
            qk_buf_addf(out, "      *%s.%s=) compadd -- %s ;;\n", k->section, k->name,
                        qk_buf_str(&words));
        qk_buf_free(&words);
    }
    qk_buf_add_str(out, "    esac\n  else\n    compadd -S = --");
    for (size_t i = 0; i < qk_config_n_keys; i++)
        qk_buf_addf(out, " %s.%s", qk_config_keys[i].section, qk_config_keys[i].name);
    qk_buf_add_str(out, "\n  fi\n}\n"
                        "_qkengine() {\n  local context state state_descr line\n"
                        "  typeset -A opt_args\n  local -a commands\n  commands=(\n");
    for (const qk_command *const *c = qk_commands; *c; c++) {
        qk_buf_addf(out, "    '%s:", (*c)->name);
        add_quoted(out, (*c)->summary, "");
        qk_buf_add_str(out, "'\n");
    }
    qk_buf_add_str(out, "  )\n"
                        "  _arguments -C '(- *)--help[what there is]' "
                        "'(- *)--version[which version this is]' \\\n"
                        "    '1: :->command' '*:: :->arguments'\n"
                        "  [[ $state == command ]] && _describe command commands\n"
                        "  [[ $state == arguments ]] || return\n"
                        "  case $words[1] in\n");
    for (const qk_command *const *c = qk_commands; *c; c++) {
        qk_buf_addf(out, "  %s)\n    _arguments '(- *)--help[its arguments and options]'",
                    (*c)->name);
        for (const qk_option *o = (*c)->options; o && o->name; o++) {
            qk_buf_clear(&help);
            qk_help_option(&help, o);
            qk_buf_addf(out, " \\\n      '%s--%s%s[", o->repeated ? "*" : "", o->name,
                        qk_option_takes_word(o) ? "="
                        : o->attached           ? "=-"
                                                : "");
            add_quoted(out, qk_buf_str(&help), zsh_special);
            qk_buf_add_byte(out, ']');
            if (o->value) qk_buf_addf(out, "%s:%s:", o->attached ? ":" : "", o->value);
            if (o->value) add_zsh_value(out, o->type, o->words);
            qk_buf_add_byte(out, '\'');
        }
        for (const qk_argument *a = (*c)->arguments; a->name; a++) {
            qk_buf_addf(out, " \\\n      '%s:%s:", a->optional ? ":" : "", a->name);
            add_zsh_value(out, a->type, a->words);
            qk_buf_add_byte(out, '\'');
        }
        qk_buf_add_str(out, " ;;\n");
    }
    /* Both ways to load it: as a file of $fpath, and as commands. */
    qk_buf_add_str(out, "  esac\n}\n"
                        "if [[ $funcstack[1] == _qkengine ]]; then\n  _qkengine \"$@\"\n"
                        "else\n  compdef _qkengine qkengine\nfi\n");
    qk_buf_free(&help);
}

/* ---- fish ---- */

static const char fish_special[] = "\\'";

/* The flags of complete for a value. */
static void add_fish_value(qk_buf *out, qk_value_type type, const char *const *words)
{
    switch (type) {
    case QK_VALUE_SETTING: qk_buf_add_str(out, " -a '(__qkengine_settings)'"); return;
    case QK_VALUE_CONFIG:
        qk_buf_add_str(out, " -a '(__fish_complete_path (commandline -ct) | string match -r "
                            "\".*(?:/|\\.ya?ml)(?:\\t.*)?\\$\")'");
        return;
    case QK_VALUE_FILE: qk_buf_add_str(out, " -F"); return;
    case QK_VALUE_FOLDER: qk_buf_add_str(out, " -a '(__fish_complete_directories)'"); return;
    case QK_VALUE_WORD:
    case QK_VALUE_COMMAND:
    case QK_VALUE_PRESET:
        qk_buf_add_str(out, " -a '");
        add_known(out, type, words);
        qk_buf_add_byte(out, '\'');
        return;
    default: return;
    }
}

static void add_fish(qk_buf *out)
{
    qk_buf help = {0};
    qk_buf_add_str(out, "# fish completion for qkengine: qkengine completion fish\n"
                        "function __qkengine_is\n    set -l words (commandline -opc)\n"
                        "    test (count $words) -ge 2; and test $words[2] = $argv[1]\nend\n"
                        "function __qkengine_settings\n    printf '%s\\n'");
    for (size_t i = 0; i < qk_config_n_keys; i++) {
        const qk_config_key *k = &qk_config_keys[i];
        qk_buf words = {0};
        const char *w = add_key_words(&words, k) ? qk_buf_str(&words) : "";
        qk_buf_addf(out, " %s.%s=", k->section, k->name);
        if (*w) qk_buf_addf(out, " %s.%s={", k->section, k->name);
        for (; *w; w++) qk_buf_add_byte(out, *w == ' ' ? ',' : (uint8_t)*w);
        if (words.size) qk_buf_add_byte(out, '}');
        qk_buf_free(&words);
    }
    qk_buf_add_str(out, "\nend\ncomplete -c qkengine -f\n");
    const char *first = "complete -c qkengine -n 'test (count (commandline -opc)) -eq 1'";
    qk_buf_addf(out, "%s -l help -d 'what there is'\n", first);
    qk_buf_addf(out, "%s -l version -d 'which version this is'\n", first);
    for (const qk_command *const *c = qk_commands; *c; c++) {
        qk_buf_addf(out, "%s -a %s -d '", first, (*c)->name);
        add_quoted(out, (*c)->summary, fish_special);
        qk_buf_add_str(out, "'\n");
    }
    for (const qk_command *const *c = qk_commands; *c; c++) {
        char *own = qk_strf("complete -c qkengine -n '__qkengine_is %s'", (*c)->name);
        qk_buf_addf(out, "%s -l help -d 'its arguments and options'\n", own);
        for (const qk_option *o = (*c)->options; o && o->name; o++) {
            qk_buf_clear(&help);
            qk_help_option(&help, o);
            qk_buf_addf(out, "%s -l %s -d '", own, o->name);
            add_quoted(out, qk_buf_str(&help), fish_special);
            qk_buf_add_byte(out, '\'');
            if (qk_option_takes_word(o))
                qk_buf_add_str(out, o->type == QK_VALUE_FILE ? " -r" : " -x");
            if (o->value) add_fish_value(out, o->type, o->words);
            qk_buf_add_byte(out, '\n');
        }
        for (const qk_argument *a = (*c)->arguments; a->name; a++) {
            if (a->type == QK_VALUE_TEXT) continue;
            qk_buf_add_str(out, own);
            add_fish_value(out, a->type, a->words);
            qk_buf_add_byte(out, '\n');
        }
        free(own);
    }
    qk_buf_free(&help);
}

static qk_status run(const qk_args *args, qk_error *err)
{
    (void)err;
    const char *shell = qk_arg(args, 0);
    qk_buf out = {0};
    if (!strcmp(shell, "bash"))
        add_bash(&out);
    else if (!strcmp(shell, "zsh"))
        add_zsh(&out);
    else
        add_fish(&out);
    fputs(qk_buf_str(&out), stdout);
    qk_buf_free(&out);
    return QK_OK;
}

const qk_command qk_command_completion = {
    .name = "completion",
    .arguments = {{"SHELL", QK_VALUE_WORD, .words = QK_WORDS("bash", "zsh", "fish")}},
    .summary = "print what makes a shell complete commands, options and files",
    .details = "make install puts the scripts where the shells look for them. Without it: eval "
               "\"$(qkengine completion bash)\" in ~/.bashrc, source <(qkengine completion zsh) "
               "behind compinit in ~/.zshrc, qkengine completion fish > "
               "~/.config/fish/completions/qkengine.fish.",
    .run = run,
};
