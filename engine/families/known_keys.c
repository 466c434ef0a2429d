/* See known_keys.h. */
#include "engine/families/known_keys.h"

#include <string.h>

#include "engine/base/log.h"

/* Read for every family, by spec.c, rope.c and overrides.c. */
static const char *const always_read[] = {
    "model_type",          "hidden_size",
    "num_hidden_layers",   "num_attention_heads",
    "vocab_size",          "intermediate_size",
    "num_key_value_heads", "head_dim",
    "rms_norm_eps",        "rope_parameters",
    "quantization_config", "max_position_embeddings",
    "tie_word_embeddings", NULL,
};

/* Passed over, words of one string for one reason. */
static const char *const ignored[] = {
    /* names Python classes; code of a checkpoint is never run */
    "architectures auto_map is_llama_config tokenizer_class",
    /* where the file came from */
    "transformers_version _name_or_path unsloth_version unsloth_fixed",
    /* tensors say their own format, and model.dtype chooses the arithmetic */
    "torch_dtype dtype",
    /* the family reads the one that counts for it */
    "hidden_act hidden_activation",
    /* read with the RoPE parameters */
    "original_max_position_embeddings",
    /* belongs to the output head, which a prefill does not run */
    "final_logit_softcapping logits_scaling output_router_logits lm_head_bias",
    /* the tokenizer's files say which tokens are added */
    "bos_token_id eos_token_id pad_token_id sep_token_id decoder_start_token_id",
    /* generation only */
    "temperature top_k top_p do_sample num_beams max_length min_length repetition_penalty "
    "length_penalty no_repeat_ngram_size suppress_tokens begin_suppress_tokens bad_words_ids "
    "forced_bos_token_id forced_eos_token_id num_return_sequences early_stopping typical_p "
    "diversity_penalty num_beam_groups encoder_no_repeat_ngram_size "
    "exponential_decay_length_penalty remove_invalid_values tf_legacy_loss",
    /* training only */
    "initializer_range initializer_factor attention_dropout hidden_dropout dropout resid_pdrop "
    "embd_pdrop router_jitter_noise router_aux_loss_coef gradient_checkpointing use_bfloat16",
    /* how the Python library runs, not what it computes */
    "use_cache cache_implementation attn_implementation _attn_implementation "
    "_attn_implementation_autoset use_flash_attn torchscript pretraining_tp output_attentions "
    "output_hidden_states return_dict return_dict_in_generate output_scores "
    "chunk_size_feed_forward pruned_heads tie_encoder_decoder",
    /* belongs to heads for other tasks */
    "id2label label2id num_labels problem_type task_specific_params finetuning_task prefix",
    /* only counts where the family reads it */
    "max_window_layers",
    /* how layer_types, which stands beside it, came about; transformers does not read it either */
    "_sliding_window_pattern",
};

typedef enum neutral { NULL_ONLY, FALSE, ZERO, ONE, FULL } neutral;

/* Changes the arithmetic in some family; harmless with the value that stands beside it, or null. */
static const struct {
    const char *key;
    neutral neutral;
} arithmetic[] = {
    {"sliding_window", NULL_ONLY},
    {"use_sliding_window", FALSE},
    {"sliding_window_pattern", ONE},
    {"layer_types", FULL},
    {"attention_bias", FALSE},
    {"mlp_bias", FALSE},
    {"qkv_bias", FALSE},
    {"use_qkv_bias", FALSE},
    {"use_qk_norm", FALSE},
    {"qk_layernorm", FALSE},
    {"clip_qkv", ZERO},
    {"query_pre_attn_scalar", NULL_ONLY},
    {"attn_logit_softcapping", ZERO},
    {"embedding_multiplier", ONE},
    {"attention_multiplier", ONE},
    {"residual_multiplier", ONE},
    {"use_bidirectional_attention", FALSE},
    {"is_encoder_decoder", FALSE},
    {"is_decoder", FALSE},
    {"add_cross_attention", FALSE},
    {"cross_attention_layers", NULL_ONLY},
    {"no_rope_layers", NULL_ONLY},
    {"no_rope_layer_interval", ZERO},
    {"rope_local_base_freq", NULL_ONLY},
    {"rope_interleaved", FALSE},
    {"full_attn_mod", ONE},
    {"interpolate_factor", ONE},
    {"use_mrope", FALSE},
    {"alibi", FALSE},
    {"use_parallel_residual", FALSE},
    {"parallel_attn", FALSE},
    {"num_experts", ZERO},
    {"num_local_experts", ZERO},
    {"num_experts_per_tok", ZERO},
    {"moe_intermediate_size", NULL_ONLY},
    {"n_routed_experts", ZERO},
    {"layer_norm_eps", NULL_ONLY},
    {"norm_topk_prob", FALSE},
    {"mlp_only_layers", NULL_ONLY},
    {"decoder_sparse_step", ONE},
    {"llama_4_scaling_beta", NULL_ONLY},
};

static bool in_list(const char *const *list, const char *key)
{
    for (; list && *list; list++)
        if (!strcmp(*list, key)) return true;
    return false;
}

static bool is_read(const qk_spec *s, const char *key)
{
    const qk_family *f = s->family;
    if (in_list(always_read, key) || in_list(f->keys, key)) return true;
    if (!strcmp(key, "attention_bias")) return f->qkv_bias >= QK_BIAS_KEY;
    return !strcmp(key, "mlp_bias") && f->mlp_bias >= QK_BIAS_KEY;
}

static bool is_ignored(const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored && n; i++)
        for (const char *at = ignored[i]; (at = strstr(at, key)); at++) {
            bool begins = at == ignored[i] || at[-1] == ' ', ends = !at[n] || at[n] == ' ';
            if (begins && ends) return true;
        }
    return false;
}

static bool is_neutral(const qk_json *v, neutral n)
{
    switch (n) {
    case NULL_ONLY: return false;
    case FALSE: return v->type == QK_JSON_T_BOOL && !v->boolean;
    case ZERO: return v->type == QK_JSON_T_NUMBER && v->number == 0;
    case ONE: return v->type == QK_JSON_T_NUMBER && v->number == 1;
    case FULL:
        if (v->type != QK_JSON_T_ARRAY) return false;
        for (const qk_json *t = v->first; t; t = t->next)
            if (!qk_json_is_string(t, "full_attention")) return false;
        return true;
    }
    return false;
}

static qk_status refuse(const qk_spec *s, const qk_spec_reader *r, const qk_json *v)
{
    qk_json_out text = {.compact = true};
    qk_json_add_tree(&text, NULL, v);
    qk_status status = qk_fail(
        r->err, QK_ERR_UNSUPPORTED,
        "it changes the arithmetic of other models; if it means nothing in this one, set it to "
        "null in model.config_overrides",
        "%s: '%s' is %.80s, and model_type '%s' does not handle it", r->where, v->key,
        qk_buf_str(&text.buf), s->family->model_type);
    qk_buf_free(&text.buf);
    return status;
}

qk_status qk_check_keys(const qk_spec *spec, const qk_spec_reader *r)
{
    for (const qk_json *v = r->config->first; v; v = v->next) {
        if (v->type == QK_JSON_T_NULL || is_read(spec, v->key) || is_ignored(v->key)) continue;
        bool known = false;
        for (size_t i = 0; i < sizeof arithmetic / sizeof *arithmetic && !known; i++) {
            known = !strcmp(arithmetic[i].key, v->key);
            if (known && !is_neutral(v, arithmetic[i].neutral)) return refuse(spec, r, v);
        }
        if (!known)
            qk_warn_once("%s: '%.100s' is not a key that this program knows; it is passed over",
                         r->where, v->key);
    }
    return QK_OK;
}
