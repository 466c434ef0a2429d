/* Llama 3.2 Vision, its text layers (Meta, 2024): Llama's layers, and between them layers that look
 * at an image through cross-attention. Without an image those pass x through, and the others keep
 * their numbers. */
#include "engine/families/family.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_PRE_NORM, QK_NAMES_ATTENTION,
                                QK_NAMES_MLP};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    bool *cross = qk_arena_alloc(r->arena, (size_t)spec->layers, sizeof *cross), given;
    QK_TRY(qk_key_layer_set(r, "cross_attention_layers", spec->layers, cross, &given));
    /* The 40 layers of the 11B model, which its configuration takes for granted. */
    for (int l = 0; l < spec->layers; l++)
        spec->layer[l].absent = given ? cross[l] : l >= 3 && l <= 38 && (l - 3) % 5 == 0;
    return QK_OK;
}

const qk_family qk_family_mllama_text = {
    .model_type = "mllama_text_model",
    .about = "the text model of mllama",
    .names = &names,
    .kv_heads = 8,
    .eps = 1e-5,
    .theta = 500000,
    .max_position = 131072,
    .extra_embeddings = 8, /* for the image token */
    .read = read,
    .keys = (const char *const[]){"cross_attention_layers", NULL},
};

const qk_family qk_family_mllama = {
    .model_type = "mllama",
    .about = "Llama 3.2 Vision 11B, 90B (text)",
    .text_type = "mllama_text_model",
    .other_parts = (const char *const[]){"vision_model.", "multi_modal_projector.", NULL},
};
