"""Forward goldens that this repository adds to the shared ones: a tiny configuration for each, in the Hub's key style.

The goldens in tests/data/forward are made of these with torch 2.11.0 and transformers 5.1.0, as tests/README.md says under "Goldens".
"""

BASE = dict(hidden_size=64, intermediate_size=112, num_attention_heads=4, num_key_value_heads=2, vocab_size=320,
            max_position_embeddings=4096, hidden_act="silu", bos_token_id=1, eos_token_id=2, pad_token_id=0,
            tie_word_embeddings=False, torch_dtype="float32")

CASES = {
    # Every fourth layer is full; 5 layers, so that the pattern is seen to begin again.
    "olmo3_windows": dict(BASE, model_type="olmo3", architectures=["Olmo3ForCausalLM"], num_hidden_layers=5,
                          rms_norm_eps=1e-6, rope_theta=500000.0, sliding_window=9),
}
