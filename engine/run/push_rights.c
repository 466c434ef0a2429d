/* See push_rights.h. */
#include "engine/run/push_rights.h"

#include <stdio.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/config/config.h"
#include "hub/rights.h"

static const char key[] = "output.hf_repo_id";

/* The token, by its owner. */
static qk_status ask(const qk_hub *hub, const char *repo, qk_error *err)
{
    qk_rights rights;
    qk_status s = qk_rights_ask(&rights, hub, repo, err);
    if (s != QK_OK && !rights.refused) {
        QK_TRY(qk_interrupt_check(err));
        qk_warn("%s: the Hub does not say whether the token may write to %s; the push at the end "
                "tries: %s",
                key, repo, err->message);
        return QK_OK;
    }
    if (s == QK_OK && *rights.doubt)
        qk_warn("%s: %s: the push to %s may be refused", key, rights.doubt, repo);
    return s;
}

qk_status qk_check_push_rights(const qk_config *config, bool is_share, qk_error *err)
{
    const char *repo = config->output.hf_repo_id;
    if (!repo || !*repo) return QK_OK;
    qk_hub hub;
    QK_TRY(qk_hub_open(&hub, NULL, err));
    qk_status s = qk_check_push_names(repo, config->output.hf_branch, err);
    if (s == QK_OK && hub.offline)
        qk_warn("%s: HF_HUB_OFFLINE is set: nothing will be pushed to %s", key, repo);
    else if (s == QK_OK)
        s = qk_check_push_token(&hub, err);
    if (s == QK_OK && !hub.offline && !is_share) s = ask(&hub, repo, err);
    qk_hub_close(&hub);
    if (s == QK_OK || qk_interrupted()) return s;
    qk_error_prefix(err, "%s", key);
    if (!is_share) return s;
    qk_warn("%s; %s", err->message, err->hint);
    return QK_OK;
}

/* ---- for the plan ---- */

static void refuse(qk_push_outlook *out, const qk_error *why)
{
    out->known = true;
    snprintf(out->text, sizeof out->text, "cannot be: %.300s%s%.300s", why->message,
             *why->hint ? "; " : "", why->hint);
}

static void describe(qk_push_outlook *out, const qk_rights *rights, qk_presence presence)
{
    static const char *const there[] = {
        [QK_PRESENCE_UNKNOWN] = "",
        [QK_PRESENCE_NO_REPO] = "; the repository is not there, the push makes it",
        [QK_PRESENCE_NO_BRANCH] = "; the repository is there, the push makes the branch",
        [QK_PRESENCE_THERE] = "; repository and branch are there",
    };
    out->known = out->may_push = rights->may_write;
    snprintf(out->account, sizeof out->account, "%s", rights->account);
    if (!rights->may_write)
        snprintf(out->text, sizeof out->text, "may be refused: %s%s", rights->doubt,
                 there[presence]);
    else
        snprintf(out->text, sizeof out->text, "as '%s', whose token may write%s", rights->account,
                 there[presence]);
}

static qk_status ask_outlook(qk_push_outlook *out, const qk_hub *hub, const qk_config *c,
                             qk_error *err)
{
    qk_rights rights;
    const char *repo = c->output.hf_repo_id;
    qk_status s = qk_rights_ask(&rights, hub, repo, err);
    if (s == QK_OK) {
        describe(out, &rights, qk_presence_ask(hub, repo, c->output.hf_branch));
    } else if (rights.refused) {
        refuse(out, err);
    } else {
        snprintf(out->text, sizeof out->text, "not known: %.600s", err->message);
    }
    return qk_interrupt_check(err);
}

qk_status qk_push_outlook_make(qk_push_outlook *out, const qk_config *config, bool asks,
                               qk_error *err)
{
    *out = (qk_push_outlook){0};
    qk_error why;
    qk_hub hub;
    if (qk_check_push_names(config->output.hf_repo_id, config->output.hf_branch, &why) != QK_OK ||
        qk_hub_open(&hub, NULL, &why) != QK_OK) {
        refuse(out, &why);
        return QK_OK;
    }
    qk_status s = QK_OK;
    if (hub.offline)
        snprintf(out->text, sizeof out->text, "not, while HF_HUB_OFFLINE is set");
    else if (qk_check_push_token(&hub, &why) != QK_OK)
        refuse(out, &why);
    else if (!asks)
        snprintf(out->text, sizeof out->text, "with the token from %s, not asked", hub.token_from);
    else
        s = ask_outlook(out, &hub, config, err);
    qk_hub_close(&hub);
    return s;
}
